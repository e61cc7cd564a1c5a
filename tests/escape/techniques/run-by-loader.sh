#!/bin/sh
# what: call the dynamic loader by hand
# expect: recorded
# record: process_started ld-linux
# record: file_accessed /echo
"$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null | head -n 1)" /bin/echo DONE
