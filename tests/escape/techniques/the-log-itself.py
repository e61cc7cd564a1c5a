# what: write to the log that records go to
# expect: blocked
# record: connection_attempted protected
# bare: works
socket.create_connection(('127.0.0.1', BROKER), 5)
escaped('connected')
