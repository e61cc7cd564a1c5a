# what: cut the guarded file
# expect: blocked
# record: file_accessed guarded
# bare: works
os.truncate(GUARDED + '/key', 0)
escaped('cut')
