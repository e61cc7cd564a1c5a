# what: enter the namespaces of another process
# expect: blocked
# record: call_attempted setns
fd = os.open('/proc/1/ns/mnt', os.O_RDONLY) if os.access('/proc/1/ns/mnt', os.R_OK) else 0
call('setns', 308, fd, 0)
leak(open(GUARDED + '/key').read())
