# what: load code into the kernel
# expect: blocked
# record: call_attempted bpf
call('bpf', 321, 5, ctypes.create_string_buffer(128), 128)
escaped('loaded')
