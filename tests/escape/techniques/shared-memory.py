# what: meet a process outside in shared memory
# expect: blocked
# needs: namespaces
# bare: works
segment = call('shmget', 29, SHM, 0, 0)
libc.shmat.restype = ctypes.c_void_p
address = libc.shmat(segment, None, 0)
leak(ctypes.string_at(address, 10).decode())
