# what: set the clock that records are dated by
# expect: blocked
# record: call_attempted clock_settime
call('clock_settime', 227, 0, struct.pack('qq', 1, 0))
escaped('set')
