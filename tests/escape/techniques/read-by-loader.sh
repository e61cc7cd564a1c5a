#!/bin/sh
# what: hand it to the dynamic loader
# expect: blocked
# record: file_accessed guarded
"$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null | head -n 1)" "$GUARDED/key"
