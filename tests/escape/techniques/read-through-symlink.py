# what: reach it by a symbolic link
# expect: blocked
# record: file_accessed guarded
# bare: works
os.symlink(GUARDED + '/key', 'link')
leak(open('link').read())
