#!/usr/bin/env python3
"""Checks a Merkle log with software that is not ours: aics-tlog (C2SP formats) and pymerkle (RFC 6962 hashing).

    verify_log.py <log folder> <verifier key> <folder of entries> <old checkpoint>

The folder of entries holds one file per leaf, in the order of their names. Prints one line per check; exit status 0 when all hold,
1 when one does not, 77 when a package is missing.
"""
import base64, os, shutil, subprocess, sys, tempfile

log, key, folder, old = sys.argv[1:5]
try:
    import aics_tlog, pymerkle
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

entries = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
failed = False


def check(name, holds, detail=""):
    global failed
    failed |= not holds
    print(("ok    " if holds else "FAILED"), name, "" if holds else detail)


def tlog(*args):
    done = subprocess.run([sys.executable, "-m", "aics_tlog", *args], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def holds(name, *args):
    status, text = tlog(*args)
    check(name, status == 0, text)


def refused(name, *args):
    status, text = tlog(*args)
    check(name, status == 1, f"exit status {status}: {text}")


where = ["--tiles", log, "--log-key", key]
holds("the checkpoint is signed by the key", "verify-checkpoint", *where)
for index in sorted({0, len(entries) // 2, len(entries) - 1}):
    holds(f"entry {index} is in the log", "verify-inclusion", *where, "--index", str(index), "--leaf", entries[index])
holds("the log only grew", "verify-consistency", *where, "--old-checkpoint", old)

with tempfile.TemporaryDirectory() as scratch:
    bent = os.path.join(scratch, "entry")
    shutil.copy(entries[-1], bent)
    with open(bent, "ab") as file:
        file.write(b" ")
    refused("an entry with a byte more is refused", "verify-inclusion", *where, "--index", str(len(entries) - 1), "--leaf", bent)
    copy = os.path.join(scratch, "log")
    shutil.copytree(log, copy)
    names = sorted(os.path.join(at, n) for at, _, ns in os.walk(os.path.join(copy, "tile", "0")) for n in ns)
    with open(names[0], "r+b") as file:
        file.seek(33)
        byte = file.read(1)[0]
        file.seek(33)
        file.write(bytes([byte ^ 1]))
    refused("a tile with a byte changed is refused", "verify-inclusion", "--tiles", copy, "--log-key", key, "--index", "0", "--leaf", entries[0])

tree = pymerkle.InmemoryTree(algorithm="sha256")
for path in entries:
    with open(path, "rb") as file:
        tree.append_entry(file.read())
with open(os.path.join(log, "checkpoint")) as file:
    _, size, root = file.read().split("\n")[:3]
check("the root is that of the entries", int(size) == len(entries) and base64.b64decode(root) == tree.get_root())
sys.exit(1 if failed else 0)
