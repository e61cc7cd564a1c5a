#!/usr/bin/env python3
"""Reads the table with deltalake, polars and DuckDB.

    read_table.py <table folder> <events> <findings>

Events are in partition 0, with the offsets from 0 on; findings in partition 2.
Prints one line per check; exit status 0 when all hold, 1 when one does not, 77 when a package is missing.
"""
import os
import sys

table, events, findings = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rows = events + findings
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
check("deltalake: offsets", [delta.transaction_version(f"agent.session.{t}") for t in ("events.v1/0", "findings.v1/2")], [events, findings])
check("deltalake: append only", delta.metadata().configuration.get("delta.appendOnly"), "true")
arrow = delta.to_pyarrow_table()
check("deltalake: rows", arrow.num_rows, rows)
check("deltalake: each offset once", sorted(zip(*(arrow.column(c).to_pylist() for c in ("partition", "offset")))), [(0, o) for o in range(events)] + [(2, o) for o in range(findings)])
one = [r for r in arrow.to_pylist() if r["kind"] == "process_started"]
check("deltalake: a nested field", [r["process_started"]["actor"]["image"] for r in one], ["/usr/bin/curl"])
check("deltalake: an array", one[0]["process_started"]["arguments"], ["curl", "https://example.org"])
check("deltalake: bytes", [len(r["prev_digest"]) for r in one], [32])
try:
    delta.delete("seq = 0")
    check("deltalake: refuses to delete", "deleted", "refused")
except Exception as refusal:
    check("deltalake: refuses to delete", "append-only" in str(refusal).lower(), True)

scan = polars.scan_delta(table)
check("polars: rows", scan.select(polars.len()).collect().item(), rows)
found = scan.filter(polars.col("kind") == "finding").select(polars.col("finding").struct.field("title")).collect()
check("polars: a filter and a nested field", found["title"].to_list(), ["SecretReadThenEgress"] * (1 + findings))
late = scan.filter(polars.col("occurred_at") >= polars.lit("2026-10-26T07:33:20.010Z").str.to_datetime(time_zone="UTC", time_unit="us"))
# Each record is a millisecond later than the one before it in its session.
expected = len([r for r in arrow.to_pylist() if r["seq"] >= 10])
check("polars: a filter by time", late.select(polars.len()).collect().item(), expected)

# A file has no columns for kinds that none of its records is of, so columns are matched by name. Which files the table consists of stands
# in its log: after a compaction the folder holds each record in two arrangements.
read = f"read_parquet({[uri.removeprefix('file://') for uri in delta.file_uris()]!r}, hive_partitioning=true, union_by_name=true)"
check("duckdb: rows", duckdb.sql(f"select count(*), count(distinct (partition, \"offset\")) from {read}").fetchall(), [(rows, rows)])
check(
    "duckdb: nested, list, time, day",
    duckdb.sql(
        f"select process_started.actor.image, len(caused_by), epoch_us(occurred_at), cast(day as varchar) from {read} where kind = 'process_started'"
    ).fetchall(),
    [("/usr/bin/curl", 2, 1793000000007000, "2026-10-26")],
)
# Every earlier version is readable, and holds each record once.
counts = [deltalake.DeltaTable(table, version=version).to_pyarrow_table().num_rows for version in range(1, delta.version() + 1)]
check("deltalake: earlier versions", [counts == sorted(counts), counts[-1]], [True, rows])
# Three native libraries with threads of their own are in this process, and taking them down one after another is a race that is not ours.
sys.stdout.flush()
os._exit(1 if failed else 0)
