# what: behind the proxy: reach the log by a name that a rule puts there
# expect: blocked
# policy: proxy
# record: connection_attempted protected by the shim
tunnel(f'log.test:{BROKER}')
escaped('connected')
