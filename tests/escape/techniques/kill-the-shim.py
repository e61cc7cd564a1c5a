# what: kill the shim
# expect: blocked
os.kill(SHIM, 9)
escaped('killed')
