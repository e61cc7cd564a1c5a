# what: the same by sched_setattr
# expect: blocked
# record: call_attempted sched_setattr
call('sched_setattr', 314, 0, struct.pack('IIQiIQQQ', 48, 1, 0, 0, 99, 0, 0, 0), 0)
escaped('first')
