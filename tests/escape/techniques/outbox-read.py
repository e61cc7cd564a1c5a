# what: read what the shim has recorded
# expect: blocked
# record: file_accessed sealed
# bare: works
leak(open(SEALED + '/outbox/spool').read())
