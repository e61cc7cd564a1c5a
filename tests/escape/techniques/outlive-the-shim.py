# what: leave a process behind that nobody is the parent of
# expect: recorded
# record: process_started sleeper
import shutil
shutil.copy('/bin/sleep', 'sleeper')
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.open('outlived.lock', os.O_CREAT | os.O_RDWR)
        lock = os.open('outlived.lock', os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock, True)
        open('outlived.pid', 'w').write(str(os.getpid()))
        os.execv('./sleeper', ['sleeper', '600'])
    os._exit(0)
while not os.path.exists('outlived.pid') or 'sleeper' not in open(f"/proc/{open('outlived.pid').read() or 'self'}/cmdline").read(): time.sleep(0.01)
print('DONE')
