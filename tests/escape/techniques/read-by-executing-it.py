# what: execute the guarded file, so that an interpreter reads it
# expect: blocked
# record: process_started guarded
os.execv(GUARDED + '/script', ['script'])
