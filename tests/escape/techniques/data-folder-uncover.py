# what: take away the mount that covers the data folder
# expect: blocked
# record: call_attempted umount2
if libc.umount2(SEALED.encode(), 2): raise OSError(ctypes.get_errno(), 'umount2')
escaped('uncovered')
