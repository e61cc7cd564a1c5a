# what: rename the guarded folder
# expect: blocked
# record: file_accessed guarded
# bare: works
os.rename(GUARDED, WORK + '/moved')
leak(open('moved/key').read())
