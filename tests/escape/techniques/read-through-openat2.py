# what: open it by openat2, whose flags no filter sees
# expect: blocked
# record: file_accessed key
# bare: works
how = struct.pack('QQQ', 0, 0, 0)
fd = call('openat2', 437, -100, (GUARDED + '/key').encode(), how, 24)
leak(os.read(fd, 99).decode())
