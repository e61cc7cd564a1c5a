# what: put limits on the shim
# expect: blocked
resource.prlimit(SHIM, resource.RLIMIT_NOFILE, (0, 0))
escaped('limited')
