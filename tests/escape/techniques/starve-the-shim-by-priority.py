# what: put the shim behind everything else
# expect: blocked
os.setpriority(os.PRIO_PROCESS, SHIM, 19)
escaped('reniced')
