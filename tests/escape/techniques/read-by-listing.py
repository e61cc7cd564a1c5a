# what: list the names in the guarded folder
# expect: blocked
# record: file_accessed guarded
# bare: works
leak(' '.join(os.listdir(GUARDED)) + ' TOP SECRET')
