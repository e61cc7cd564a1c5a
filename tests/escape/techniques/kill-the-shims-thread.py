# what: kill a thread of the shim
# expect: blocked
call('tgkill', 234, SHIM, SHIM, 9)
escaped('killed')
