# what: go into the folder and reach it through /proc/self/cwd
# expect: blocked
# record: file_accessed guarded
# bare: works
os.chdir(GUARDED)
leak(open('/proc/self/cwd/key').read())
