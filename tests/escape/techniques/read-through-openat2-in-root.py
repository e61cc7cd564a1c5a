# what: open it by openat2 with a root of its own choice
# expect: blocked
# record: file_accessed key
# bare: works
root = os.open('/', os.O_PATH)
how = struct.pack('QQQ', 0, 0, 0x10)
fd = call('openat2', 437, root, (GUARDED + '/key').encode(), how, 24)
leak(os.read(fd, 99).decode())
