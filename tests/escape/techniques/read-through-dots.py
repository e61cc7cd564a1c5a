# what: reach it by a path full of dots
# expect: blocked
# record: file_accessed guarded
# bare: works
leak(open(WORK + '/.././' + os.path.basename(WORK) + '/../guarded/./key').read())
