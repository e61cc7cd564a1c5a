# what: run before everything, for ever
# expect: blocked
# record: call_attempted sched_setscheduler
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
escaped('first')
