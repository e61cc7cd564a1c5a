# what: ask the kernel by the magic key
# expect: blocked
open('/proc/sysrq-trigger', 'w').write('h')
escaped('asked')
