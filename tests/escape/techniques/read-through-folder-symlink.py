# what: reach its folder by a symbolic link
# expect: blocked
# record: file_accessed guarded
# bare: works
os.symlink(GUARDED, 'folder')
leak(open('folder/key').read())
