# what: read the key that approvals are signed with
# expect: blocked
# record: file_accessed sealed
# bare: works
leak(open(SEALED + '/keys/approval.key').read())
