# what: write into another process by /proc/<pid>/mem
# expect: blocked
# record: file_accessed memory of another
# bare: works
import subprocess
victim = subprocess.Popen(['/bin/sleep', '60'])
try:
    os.open(f'/proc/{victim.pid}/mem', os.O_RDWR)
    escaped('its memory is open')
finally:
    victim.kill()
