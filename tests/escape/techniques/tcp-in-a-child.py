# what: let a child connect a socket it inherits
# expect: blocked
# record: connection_attempted Denied
# bare: works
s = socket.socket()
if os.fork() == 0:
    try: s.connect(('127.0.0.1', PORT))
    except OSError: os._exit(3)
    os._exit(0)
if os.wait()[1] == 0: escaped('connected')
raise PermissionError
