# what: behind the proxy: ask another host in the second request of a connection
# expect: blocked
# policy: proxy
# record: connection_attempted evil.test
s = socket.create_connection(PROXY, 300)
s.sendall(b'OPTIONS http://evil.test:1/ HTTP/1.1\r\nHost: api.test\r\n\r\n'
          + f'GET http://127.0.0.1:{PORT}/ HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n'.encode())
if s.makefile('rb').read().count(b' 403 ') == 2:
    raise PermissionError('refused')
escaped('asked')
