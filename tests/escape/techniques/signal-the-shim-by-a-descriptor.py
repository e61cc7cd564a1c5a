# what: have a descriptor send signals to the shim
# expect: blocked
a, b = os.pipe()
fcntl.fcntl(a, 8, SHIM)
fcntl.fcntl(a, 10, 9)
fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
os.write(b, b'x')
raise PermissionError
