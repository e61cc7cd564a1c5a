# what: ask Docker for a container
# expect: blocked
# record: connection_attempted docker.sock
s = socket.socket(socket.AF_UNIX)
s.connect('/run/docker.sock')
escaped('connected')
