# what: behind the proxy: have it connect to an address
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
tunnel(f'127.0.0.1:{PORT}')
escaped('connected')
