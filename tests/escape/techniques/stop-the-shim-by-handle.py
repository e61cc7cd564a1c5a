# what: stop the shim by a handle on it
# expect: blocked
signal.pidfd_send_signal(os.pidfd_open(SHIM), signal.SIGSTOP)
escaped('stopped')
