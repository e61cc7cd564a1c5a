# what: behind the proxy: ask for another server inside a tunnel to an allowed one
# expect: blocked
# policy: proxy
# record: connection_attempted TLS asks for
import ssl
words, into = ssl.MemoryBIO(), ssl.MemoryBIO()
try:
    ssl.create_default_context().wrap_bio(into, words, server_hostname='evil.test').do_handshake()
except ssl.SSLWantReadError:
    pass
s = tunnel('api.test:443')
s.sendall(words.read())
if not s.recv(1):
    raise PermissionError('closed')
escaped('answered')
