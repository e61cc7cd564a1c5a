# Stands before every technique in Python: names of what is out of reach, and words for what came of it.
import ctypes, errno, fcntl, os, resource, signal, socket, struct, sys, time, traceback

WORK, GUARDED, SEALED = (os.environ[name] for name in ('WORK', 'GUARDED', 'SEALED'))
PORT, UDP, ALLOWED, BROKER, SHIM, SHM = (
    int(os.environ[name]) for name in ('PORT', 'UDP', 'ALLOWED', 'BROKER', 'SHIM', 'SHM'))
ABSTRACT = os.environ['ABSTRACT']
libc = ctypes.CDLL(None, use_errno=True)


def call(name, number, *arguments):
    """Makes a system call of x86-64 by its number."""
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def proxy():
    host, port = os.environ['HTTP_PROXY'].removeprefix('http://').split(':')
    return host, int(port)


if 'HTTP_PROXY' in os.environ:
    PROXY = proxy()


def tunnel(to):
    """Has the proxy connect somewhere."""
    s = socket.create_connection(PROXY, 300)
    s.sendall(f'CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n'.encode())
    said = s.recv(9999)
    if b' 403 ' in said:
        raise PermissionError(said.decode())
    return s


def escaped(how):
    print('ESCAPED', how, flush=True)
    os._exit(0)


def leak(text):
    if 'TOP SECRET' in text:
        escaped(text)
    raise PermissionError('there was nothing to be read')


def ended(kind, error, trace):
    """Says whether the kernel or the shim said no, or the technique itself is at fault."""
    if issubclass(kind, OSError):
        print('REFUSED', error, flush=True)
        os._exit(3)
    print('BROKEN', *traceback.format_exception(kind, error, trace), flush=True)
    os._exit(4)


sys.excepthook = ended

