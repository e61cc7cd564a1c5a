# what: read a disk past every path
# expect: blocked
import glob, stat
for path in glob.glob('/dev/*') + glob.glob('/dev/mapper/*'):
    if stat.S_ISBLK(os.lstat(path).st_mode):
        try:
            if os.read(os.open(path, os.O_RDONLY), 16): escaped(path)
        except OSError as error: print(path, error)
raise PermissionError
