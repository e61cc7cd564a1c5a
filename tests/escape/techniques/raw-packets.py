# what: send frames past the IP stack
# expect: blocked
# record: call_attempted socket
# bare: works
socket.socket(17, socket.SOCK_RAW, 3)
escaped('packet socket')
