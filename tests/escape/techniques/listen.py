# what: open a door for others to come in
# expect: recorded
# record: connection_attempted Listen
# record: connection_attempted Bind
s = socket.socket()
s.bind(('127.0.0.1', 0))
s.listen()
print('DONE')
