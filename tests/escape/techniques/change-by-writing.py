# what: write into the guarded folder
# expect: blocked
# record: file_accessed guarded
# bare: works
open(GUARDED + '/new', 'w').write('x')
escaped('wrote')
