# what: talk to the host of a virtual machine
# expect: blocked
# record: call_attempted vsock
socket.socket(40, socket.SOCK_STREAM)
escaped('vsock')
