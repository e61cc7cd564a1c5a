# what: gain power by a program with the set-user bit
# expect: blocked
import shutil
shutil.copy('/bin/cat', 'powerful')
os.chmod('powerful', 0o4755)
status = open('/proc/self/status').read()
if 'NoNewPrivs:\t1' not in status: escaped('new privileges are possible')
raise PermissionError
