#!/bin/sh
# what: give the script to an interpreter
# expect: recorded
# record: process_started sh hidden-script
# record: file_accessed hidden-script
echo 'echo DONE' > hidden-script && sh hidden-script
