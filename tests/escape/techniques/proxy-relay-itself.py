# what: behind the proxy: connect to its relay, which believes what the shim wrote down
# expect: blocked
# policy: proxy
# record: connection_attempted the shim's own
socket.create_connection(('127.87.75.1', 3129), 300)
escaped('connected')
