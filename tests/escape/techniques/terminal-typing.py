# what: type into the terminal of the user
# expect: blocked
# record: call_attempted ioctl
import pty
master, slave = pty.openpty()
fcntl.ioctl(slave, 0x5412, b'x')
escaped('typed')
