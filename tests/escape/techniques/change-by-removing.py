# what: remove the guarded file
# expect: blocked
# record: file_accessed guarded
# bare: works
os.unlink(GUARDED + '/key')
escaped('removed')
