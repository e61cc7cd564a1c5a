# what: restart the machine
# expect: blocked
# record: call_attempted reboot
call('reboot', 169, 0xfee1dead, 672274793, 0, 0)
escaped('rebooted')
