#!/bin/sh
# what: execute a script by its first line
# expect: recorded
# record: process_started ./script
printf '#!/bin/sh\necho DONE\n' > script && chmod +x script && ./script
