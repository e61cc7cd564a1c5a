# what: behind the proxy: have it connect to an address by SOCKS
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
s = socket.create_connection(PROXY, 300)
s.sendall(b'\5\1\0\5\1\0\1\x7f\0\0\1' + struct.pack('>H', PORT))
if s.recv(2) + s.recv(2) == b'\5\0\5\2':
    raise PermissionError('refused')
escaped('connected')
