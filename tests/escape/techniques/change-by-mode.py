# what: open the guarded file to everybody
# expect: blocked
# record: file_accessed guarded
# bare: works
os.chmod(GUARDED + '/key', 0o666)
escaped('mode')
