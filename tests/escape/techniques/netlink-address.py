# what: change the network by netlink
# expect: blocked
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
# RTM_NEWLINK with NLM_F_REQUEST|NLM_F_ACK for interface 1: bring it down.
s.send(struct.pack('IHHII', 32, 16, 5, 1, 0) + struct.pack('BxHiII', 0, 0, 1, 0, 1))
answer = s.recv(999)
code = struct.unpack('i', answer[16:20])[0]
if code == 0: escaped('changed')
raise OSError(-code, 'netlink')
