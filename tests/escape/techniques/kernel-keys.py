# what: take keys of other programs of the user
# expect: blocked
# record: call_attempted keyctl
call('keyctl', 250, 0, -4, 1)
escaped('keys')
