# what: make a device node for a disk
# expect: blocked
# record: file_accessed disk
os.mknod('disk', 0o60666, os.makedev(259, 0))
escaped('device')
