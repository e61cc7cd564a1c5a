# what: behind the proxy: connect to an abstract socket of a process outside
# expect: blocked
# policy: proxy
s = socket.socket(socket.AF_UNIX)
s.connect('\0' + ABSTRACT)
escaped('connected')
