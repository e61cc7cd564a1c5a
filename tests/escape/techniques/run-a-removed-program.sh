#!/bin/sh
# what: execute a program and remove it
# expect: recorded
# record: process_started fleeting
cp /bin/echo fleeting && ./fleeting DONE && rm fleeting
