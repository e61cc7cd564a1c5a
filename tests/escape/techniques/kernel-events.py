# what: look into the kernel by performance counters
# expect: blocked
# record: call_attempted perf_event_open
call('perf_event_open', 298, ctypes.create_string_buffer(128), 0, -1, -1, 0)
escaped('opened')
