# what: reach it by twenty links, one after another
# expect: blocked
# record: file_accessed guarded
# bare: works
target = GUARDED + '/key'
for i in range(20):
    os.symlink(target, f'chain{i}')
    target = WORK + f'/chain{i}'
leak(open(target).read())
