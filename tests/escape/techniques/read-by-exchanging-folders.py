# what: exchange the guarded folder for one of its own
# expect: blocked
# record: file_accessed guarded
# bare: works
os.mkdir('mine')
call('renameat2', 316, -100, GUARDED.encode(), -100, (WORK + '/mine').encode(), 2)
leak(open('mine/key').read())
