# what: connect by SCTP, which connects when it sends
# expect: blocked
# record: call_attempted socket
socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET, 132)
escaped('sctp')
