# what: read the environment of the shim
# expect: blocked
leak(open(f'/proc/{SHIM}/environ').read() + ' TOP SECRET')
