#!/usr/bin/env python3
"""Reads a table whose older commits are gone with deltalake and polars: what is there they know from its checkpoint.

    read_checkpoint.py <table folder> <rows> [<version> <files>]

The rows are events in partition 0, with the offsets from 0 on; one to a commit and a file where nothing else is said. Exit status 0 when all holds, 1 when not, 77 when a package is
missing.
"""
import os
import sys

table, rows = sys.argv[1], int(sys.argv[2])
version, files = map(int, sys.argv[3:5]) if len(sys.argv) > 3 else (rows, rows)
try:
    import deltalake, polars
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

delta = deltalake.DeltaTable(table)
offsets = polars.scan_delta(table).select("offset").collect()["offset"].to_list()
found = {
    "version": delta.version(),
    "offset committed": delta.transaction_version("agent.session.events.v1/0"),
    "append only": delta.metadata().configuration.get("delta.appendOnly"),
    "files": len(delta.file_uris()),
    "rows of deltalake": delta.to_pyarrow_table(columns=["offset"]).num_rows,
    "offsets of polars": sorted(offsets) == list(range(rows)),
}
expected = {"version": version, "offset committed": rows, "append only": "true", "files": files, "rows of deltalake": rows, "offsets of polars": True}
for name, value in found.items():
    print("ok    " if value == expected[name] else "FAILED", name, value)
# Threads of the libraries may abort a process that ends in the usual way while they still run.
sys.stdout.flush()
os._exit(found != expected)
