# what: kill every process in reach
# expect: recorded
# record: process_exited signal: Some(9)
import subprocess
subprocess.Popen(['/bin/sleep', '60'])
print('DONE', flush=True)
os.kill(-1, 9)
os.kill(os.getpid(), 9)
