# what: connect to a host that is not allowed
# expect: blocked
# record: connection_attempted Denied
# bare: works
socket.create_connection(('127.0.0.1', PORT), 5)
escaped('connected')
