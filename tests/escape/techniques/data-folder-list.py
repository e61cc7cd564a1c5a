# what: list the data folder
# expect: blocked
# record: file_accessed sealed
# bare: works
names = os.listdir(SEALED)
if names: leak(' '.join(names) + ' TOP SECRET')
raise PermissionError
