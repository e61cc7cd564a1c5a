# what: turn the roots around
# expect: blocked
# record: call_attempted pivot_root
call('pivot_root', 155, GUARDED.encode(), GUARDED.encode())
leak(open('/key').read())
