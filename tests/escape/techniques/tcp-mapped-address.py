# what: connect to an IPv4 address in IPv6 dress
# expect: blocked
# record: connection_attempted Denied
# bare: works
s = socket.socket(socket.AF_INET6)
s.connect(('::ffff:127.0.0.1', PORT))
escaped('connected')
