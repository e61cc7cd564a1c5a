# Stands before every technique in Python: names of what is out of reach, and words for what came of it.
import ctypes, errno, fcntl, os, resource, signal, socket, struct, sys, time, traceback

WORK, GUARDED, SEALED = (os.environ[name] for name in ('WORK', 'GUARDED', 'SEALED'))
PORT, UDP, ALLOWED, BROKER, SHIM, SHM = (
    int(os.environ[name]) for name in ('PORT', 'UDP', 'ALLOWED', 'BROKER', 'SHIM', 'SHM'))
ABSTRACT = os.environ['ABSTRACT']
libc = ctypes.CDLL(None, use_errno=True)

# Numbers of arm64, where they are not those of x86-64; from 424 on both have the same.
ARM64 = {
    'bpf': 280, 'clock_settime': 112, 'clone': 220, 'fanotify_init': 262, 'finit_module': 273, 'kcmp': 272,
    'keyctl': 219, 'perf_event_open': 241, 'pivot_root': 41, 'reboot': 142, 'renameat2': 276, 'sched_setattr': 274,
    'setns': 268, 'shmget': 194, 'tgkill': 131, 'unshare': 97, 'userfaultfd': 282,
}


def call(name, x86_64, *arguments):
    """Makes a system call by its number."""
    arm64 = os.uname().machine == 'aarch64' and x86_64 < 424
    result = libc.syscall(ARM64[name] if arm64 else x86_64, *arguments)
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

