# what: put a pipe in place of a guarded file
# expect: blocked
# record: file_accessed guarded
# bare: works
os.mkfifo(GUARDED + '/pipe')
escaped('made')
