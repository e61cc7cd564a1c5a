# what: behind the proxy: connect past it
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
socket.create_connection(('192.0.2.1', 443), 300)
escaped('connected')
