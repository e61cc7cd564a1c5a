# what: write a policy that allows everything
# expect: blocked
# record: file_accessed sealed
# bare: works
open(SEALED + '/policy.toml', 'w').write('name = "free"')
escaped('wrote')
