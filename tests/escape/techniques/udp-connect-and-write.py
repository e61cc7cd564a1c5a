# what: connect a datagram socket and write to it
# expect: blocked
# record: connection_attempted Denied
# bare: works
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('127.0.0.1', UDP))
os.write(s.fileno(), b'TOP SECRET')
escaped('sent')
