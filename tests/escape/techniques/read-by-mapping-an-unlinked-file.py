# what: map a file that was opened before and has no name any more
# expect: recorded
# record: file_accessed open-before
import mmap
open('open-before', 'w').write('x' * 4096)
file = open('open-before')
os.unlink('open-before')
print('DONE', mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)[:3])
