# what: take a descriptor of another process
# expect: blocked
# record: call_attempted pidfd_getfd
# bare: works
import subprocess
victim = subprocess.Popen(['/bin/sleep', '60'])
try:
    call('pidfd_getfd', 438, os.pidfd_open(victim.pid), 0, 0)
    escaped('took it')
finally:
    victim.kill()
