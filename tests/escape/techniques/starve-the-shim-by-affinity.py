# what: keep the shim from the processors
# expect: blocked
os.sched_setaffinity(SHIM, {0})
escaped('moved')
