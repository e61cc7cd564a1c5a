# what: connect to a local socket of the shim's data folder
# expect: blocked
# record: connection_attempted door.sock
# bare: works
s = socket.socket(socket.AF_UNIX)
s.connect(SEALED + '/door.sock')
escaped('connected')
