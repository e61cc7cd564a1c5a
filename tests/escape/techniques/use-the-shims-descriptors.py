# what: open the files of the shim by its descriptors
# expect: blocked
names = os.listdir(f'/proc/{SHIM}/fd')
for name in names:
    os.open(f'/proc/{SHIM}/fd/{name}', os.O_RDONLY)
escaped('opened')
