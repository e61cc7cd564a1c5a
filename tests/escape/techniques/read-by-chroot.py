# what: make its folder the root
# expect: blocked
# record: call_attempted chroot
os.chroot(GUARDED)
leak(open('/key').read())
