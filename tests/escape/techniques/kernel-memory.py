# what: read the memory of the machine
# expect: blocked
for path in ('/dev/mem', '/dev/kmem', '/dev/port', '/proc/kcore'):
    try:
        if os.read(os.open(path, os.O_RDONLY), 16): escaped(path)
    except OSError as error: print(path, error)
raise PermissionError
