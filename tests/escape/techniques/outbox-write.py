# what: write a record of its own
# expect: blocked
# record: file_accessed sealed
# bare: works
open(SEALED + '/outbox/spool', 'a').write('forged')
escaped('wrote')
