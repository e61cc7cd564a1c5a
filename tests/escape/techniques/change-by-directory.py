# what: make a folder in the guarded one
# expect: blocked
# record: file_accessed guarded
# bare: works
os.mkdir(GUARDED + '/sub')
escaped('made')
