# what: behind the proxy: fetch words in a text record of an allowed host
# expect: blocked
# policy: proxy
# record: name_resolved TXT
server = [line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('nameserver')][0]
question = b'\x12\x34\1\0\0\1\0\0\0\0\0\0\3api\4test\0\0\x10\0\1'
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(300)
s.connect((server, 53))
s.send(question)
reply = s.recv(999)
if reply[3] & 15 == 5:
    raise PermissionError('refused')
escaped(repr(reply))
