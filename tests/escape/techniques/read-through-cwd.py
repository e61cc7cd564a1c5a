# what: go into the folder and open it by its bare name
# expect: blocked
# record: file_accessed guarded
# bare: works
os.chdir(GUARDED)
leak(open('key').read())
