# what: behind the proxy: connect past it over IPv6
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
socket.create_connection(('2001:db8::1', 443), 300)
escaped('connected')
