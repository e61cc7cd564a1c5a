# what: reach it through the root of another process
# expect: blocked
# record: file_accessed guarded
for pid in (1, os.getppid()):
    try:
        leak(open(f'/proc/{pid}/root' + GUARDED + '/key').read())
    except OSError as error:
        print(error)
raise PermissionError
