#!/usr/bin/env python3
"""Checks the proof of one record with software that is not ours (aics-tlog), both steps, and that a bent record is refused.

    check_proof.py <folder of the proof> <verifier key>

Exit status 0 when all holds, 1 when something does not, 77 when the package is missing.
"""
import json, os, subprocess, sys, tempfile

folder, key = sys.argv[1:3]
try:
    import aics_tlog
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

failed = False


def check(name, holds, detail=""):
    global failed
    failed |= not holds
    print(("ok    " if holds else "FAILED"), name, "" if holds else detail)


def tlog(*args):
    done = subprocess.run([sys.executable, "-m", "aics_tlog", "verify-inclusion", *args], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def path(name):
    return os.path.join(folder, name)


with open(path("record.proof.json")) as file:
    step = json.load(file)
with open(path("commit.tlog-proof")) as file:
    head, _, note = file.read().partition("\n\n")
version, index, *hashes = head.split("\n")
check("the second step is a tlog-proof", version == "c2sp.org/tlog-proof@v1" and index == f"index {step['commit']}")

with open(path("commit.json")) as file:
    adds = [json.loads(line)["add"] for line in file if line.startswith('{"add"')]
roots = [add["tags"]["watchkeeper.merkleRoot"] for add in adds]
check("the commit carries the root over the record's file", step["root_hex"] in roots, str(roots))

with tempfile.TemporaryDirectory() as scratch:
    def put(name, text):
        place = os.path.join(scratch, name)
        with open(place, "w", newline="") as file:
            file.write(text)
        return place

    first = put("first", "".join(h + "\n" for h in step["hashes"]))
    second = put("second", "".join(h + "\n" for h in hashes))
    checkpoint = put("checkpoint", note)
    in_file = ["--index", str(step["index"]), "--size", str(step["size"]), "--root", step["root"], "--proof", first]
    status, said = tlog("--leaf", path("record.entry"), *in_file)
    check("the record is in its file", status == 0, said)
    in_log = ["--index", str(step["commit"]), "--proof", second, "--checkpoint", checkpoint, "--log-key", key]
    status, said = tlog("--leaf", path("commit.json"), *in_log)
    check("the commit is in the signed log", status == 0, said)
    with open(path("record.entry"), "rb") as file:
        entry = file.read()
    with open(path("record.avro"), "rb") as file:
        check("the entry ends with the record", entry.endswith(file.read()))
    bent = os.path.join(scratch, "bent")
    with open(bent, "wb") as file:
        file.write(entry[:-1] + bytes([entry[-1] ^ 1]))
    status, said = tlog("--leaf", bent, *in_file)
    check("a bent record is refused", status == 1, said)
sys.exit(1 if failed else 0)
