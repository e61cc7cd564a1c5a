# what: behind the proxy: have it connect to an IPv4 address in IPv6 dress
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
tunnel(f'[::ffff:127.0.0.1]:{PORT}')
escaped('connected')
