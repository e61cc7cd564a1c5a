# what: behind the proxy: ask a name server of its own over a stream
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
socket.create_connection(('192.0.2.53', 53), 300)
escaped('connected')
