# what: send raw packets
# expect: blocked
# record: call_attempted socket
# bare: works
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
escaped('raw socket')
