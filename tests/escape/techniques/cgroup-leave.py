# what: leave the cgroup that freezes it
# expect: blocked
import glob
for root in ('/sys/fs/cgroup', '/sys/fs/cgroup/unified'):
    try:
        open(root + '/cgroup.procs', 'w').write(str(os.getpid()))
        escaped('left')
    except OSError as error: print(root, error)
raise PermissionError
