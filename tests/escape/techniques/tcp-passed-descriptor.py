# what: pass the socket to a child over a local one and let it connect
# expect: blocked
# record: connection_attempted Denied
# bare: works
a, b = socket.socketpair()
if os.fork() == 0:
    fds = socket.recv_fds(b, 9, 1)[1]
    s = socket.socket(fileno=fds[0])
    try: s.connect(('127.0.0.1', PORT))
    except OSError: os._exit(3)
    os._exit(0)
s = socket.socket()
socket.send_fds(a, [b'x'], [s.fileno()])
if os.wait()[1] == 0: escaped('connected')
raise PermissionError
