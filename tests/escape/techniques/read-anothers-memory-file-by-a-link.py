# what: read another process by links, folders and descriptors that lead to its /proc/<pid>/mem
# expect: blocked
# record: file_accessed memory of another
# bare: works
import subprocess
victim = subprocess.Popen(['/bin/sleep', '60'])
its = f'/proc/{victim.pid}'
os.symlink(f'{its}/mem', 'memory')
os.symlink(its, 'process')
os.symlink('/proc', 'all')
handle = os.open(f'{its}/mem', os.O_PATH)
ways = ['memory', 'process/mem', f'all/{victim.pid}/mem', f'{WORK}/../{os.path.basename(WORK)}/memory',
        f'/proc/self/../..{WORK}/memory', f'/proc/self/root/proc/../{its}/mem', f'/proc/self/fd/{handle}', f'/dev/fd/{handle}', f'/proc/self/root{its}/mem', f'/proc/self/cwd/memory']
try:
    for way in ways:
        try:
            os.open(way, os.O_RDONLY)
        except PermissionError:
            continue
        escaped(f'its memory is open by {way}')
    os.chdir(its)
    os.open('mem', os.O_RDONLY)
    escaped('its memory is open from its folder')
finally:
    victim.kill()
