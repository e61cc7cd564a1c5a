# what: enter a user and mount namespace and mount there
# expect: blocked
# record: call_attempted unshare
call('unshare', 272, 0x10020000)
libc.mount(GUARDED.encode(), b'/mnt', None, 4096, None)
leak(open('/mnt/key').read())
