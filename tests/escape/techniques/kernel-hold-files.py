# what: hold every open of the machine by fanotify
# expect: blocked
# record: call_attempted fanotify_init
call('fanotify_init', 300, 0, 0)
escaped('holds')
