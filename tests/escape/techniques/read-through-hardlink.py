# what: give it a second name
# expect: blocked
# record: file_accessed guarded
# bare: works
os.link(GUARDED + '/key', 'second')
leak(open('second').read())
