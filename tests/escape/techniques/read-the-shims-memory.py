# what: read the memory of the shim
# expect: blocked
open(f'/proc/{SHIM}/mem', 'rb')
escaped('open')
