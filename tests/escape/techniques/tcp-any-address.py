# what: connect to 0.0.0.0, which means this machine
# expect: blocked
# record: connection_attempted Denied
# bare: works
socket.create_connection(('0.0.0.0', PORT), 5)
escaped('connected')
