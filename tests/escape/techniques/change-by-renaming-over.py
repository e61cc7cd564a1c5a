# what: rename a file of its own over the guarded one
# expect: blocked
# record: file_accessed guarded
# bare: works
open('mine', 'w').write('x')
os.rename('mine', GUARDED + '/key')
escaped('replaced')
