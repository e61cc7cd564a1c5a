# what: the same by clone
# expect: blocked
# record: call_attempted clone
call('clone', 56, 0x10020000 | 17, 0, 0, 0, 0)
leak('in a namespace: TOP SECRET')
