# what: take a handle on the folder (O_PATH) and open beneath it
# expect: blocked
# record: file_accessed guarded
# bare: works
folder = os.open(GUARDED, os.O_PATH)
leak(os.read(os.open('key', os.O_RDONLY, dir_fd=folder), 99).decode())
