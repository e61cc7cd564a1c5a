# what: take a handle on the file (O_PATH) and open it anew through /proc/self/fd
# expect: blocked
# record: file_accessed guarded
# bare: works
handle = os.open(GUARDED + '/key', os.O_PATH)
leak(open(f'/proc/self/fd/{handle}').read())
