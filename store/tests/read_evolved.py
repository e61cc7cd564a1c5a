#!/usr/bin/env python3
"""Reads a table whose columns have become more with deltalake, polars and DuckDB.

    read_evolved.py <table folder> <records>

Prints one line per check; exit status 0 when all hold, 1 when one does not, 77 when a package is missing.
"""
import os
import sys

table, rows = sys.argv[1], int(sys.argv[2])
try:
    import deltalake, duckdb, polars
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

failed = False


def check(name, found, expected):
    global failed
    failed |= found != expected
    print(("ok    " if found == expected else "FAILED"), name, "" if found == expected else f"found {found!r}, expected {expected!r}")


delta = deltalake.DeltaTable(table)
arrow = delta.to_pyarrow_table()
check("deltalake: rows", arrow.num_rows, rows)
regions = arrow.column("region").to_pylist()
eu1, eu2, null = regions.count("eu-1"), regions.count("eu-2"), regions.count(None)
check("deltalake: a new column over old and new files", [eu1 > 0, eu2, eu1 + eu2 + null], [True, 1, rows])
switched = [row["model_switched"] for row in arrow.to_pylist() if row["kind"] == "model_switched"]
check("deltalake: a new kind", switched, [{"model": "m-2", "tokens": 42}])

scan = polars.scan_delta(table)
counted = dict(scan.group_by("region").len().collect().rows())
check("polars: a new column over old and new files", counted, {"eu-1": eu1, "eu-2": 1, None: null})

files = [uri.removeprefix("file://") for uri in delta.file_uris()]
read = f"read_parquet({files!r}, hive_partitioning=true, union_by_name=true)"
counted = dict(duckdb.sql(f"select region, count(*) from {read} group by region").fetchall())
check("duckdb: a new column over old and new files", counted, {"eu-1": eu1, "eu-2": 1, None: null})
check("duckdb: a new kind", duckdb.sql(f"select model_switched.tokens from {read} where kind = 'model_switched'").fetchall(), [(42,)])
sys.stdout.flush()
os._exit(1 if failed else 0)
