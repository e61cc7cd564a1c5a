# what: open a socket family that nobody checks
# expect: blocked
# record: call_attempted socket
socket.socket(38, socket.SOCK_SEQPACKET)
escaped('alg')
