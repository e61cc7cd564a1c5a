"""Times one workload from inside: under whatever watches this process, without what starting the watch costs.

    timer.py <iterations> <script> <name> <dir>      prints the milliseconds of each as a JSON list
"""
import json
import os
import subprocess
import sys
import time

iterations, script, name, folder = int(sys.argv[1]), *sys.argv[2:5]
quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "check": True}
times = []
for _ in range(iterations):
    subprocess.run(["/bin/sh", script, "fresh", name, folder], **quiet)
    begun = time.perf_counter()
    subprocess.run(["/bin/sh", script, "run", name, folder], **quiet)
    times.append((time.perf_counter() - begun) * 1000)
# Alone on its line: what watches may print lines of its own.
os.write(1, (json.dumps(times) + "\n").encode())
