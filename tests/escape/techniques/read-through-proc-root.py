# what: reach it through /proc/self/root
# expect: blocked
# record: file_accessed guarded
# bare: works
leak(open('/proc/self/root' + GUARDED + '/key').read())
