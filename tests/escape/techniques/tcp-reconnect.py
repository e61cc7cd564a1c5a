# what: undo a connect and connect elsewhere
# expect: blocked
# record: connection_attempted Denied
s = socket.socket()
try: s.connect(('127.0.0.1', ALLOWED))
except OSError: pass
libc.connect(s.fileno(), struct.pack('H14x', 0), 16)
s = s if s.fileno() >= 0 else socket.socket()
s.connect(('127.0.0.1', PORT))
escaped('connected')
