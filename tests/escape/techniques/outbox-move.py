# what: move the outbox away
# expect: blocked
# record: file_accessed sealed
# bare: works
os.rename(SEALED + '/outbox', WORK + '/outbox')
escaped('moved')
