# what: set an attribute of the guarded file
# expect: blocked
# record: file_accessed guarded
os.setxattr(GUARDED + '/key', 'user.mark', b'x')
escaped('attribute')
