# what: open the guarded file
# expect: blocked
# record: file_accessed guarded
# bare: works
leak(open(GUARDED + '/key').read())
