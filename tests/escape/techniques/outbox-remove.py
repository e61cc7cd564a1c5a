# what: remove what was recorded
# expect: blocked
# record: file_accessed sealed
# bare: works
os.unlink(SEALED + '/outbox/spool')
escaped('removed')
