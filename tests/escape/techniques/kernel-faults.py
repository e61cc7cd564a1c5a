# what: stop the kernel while it reads arguments
# expect: blocked
# record: call_attempted userfaultfd
call('userfaultfd', 323, 1)
escaped('opened')
