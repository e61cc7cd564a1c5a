# what: have the kernel run a program by core_pattern
# expect: blocked
value = open('/proc/sys/kernel/core_pattern').read()
open('/proc/sys/kernel/core_pattern', 'w').write(value)
escaped('set')
