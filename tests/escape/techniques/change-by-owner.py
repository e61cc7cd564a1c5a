# what: give the guarded file to somebody
# expect: blocked
# record: file_accessed guarded
# bare: works
os.chown(GUARDED + '/key', os.getuid(), os.getgid())
escaped('owner')
