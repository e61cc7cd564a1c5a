# what: the same by clone3, whose flags no filter sees
# expect: blocked
args = struct.pack('QQQQQQQQ', 0x10020000, 0, 0, 0, 17, 0, 0, 0)
call('clone3', 435, args, 64)
leak('in a namespace: TOP SECRET')
