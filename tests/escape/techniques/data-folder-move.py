# what: move the whole data folder away
# expect: blocked
# record: file_accessed sealed
# bare: works
os.rename(SEALED, WORK + '/sealed')
escaped('moved')
