# what: behind the proxy: send the first words along with a connect
# expect: blocked
# policy: proxy
socket.socket().sendto(b'TOP SECRET', socket.MSG_FASTOPEN, ('192.0.2.1', 443))
escaped('sent')
