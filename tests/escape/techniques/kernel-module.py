# what: load a module
# expect: blocked
# record: call_attempted finit_module
call('finit_module', 313, 0, b'', 0)
escaped('loaded')
