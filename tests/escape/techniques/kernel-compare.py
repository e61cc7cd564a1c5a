# what: ask the kernel what other processes share
# expect: blocked
# record: call_attempted kcmp
call('kcmp', 312, os.getpid(), os.getppid(), 0, 0, 0)
escaped('compared')
