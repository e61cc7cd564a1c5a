"""DuckDB's half of bench_queries: a job as JSON on standard input, best times and row counts as JSON on standard output."""
import json
import sys
import time

import duckdb

job = json.load(sys.stdin)
connection = duckdb.connect()
files = ", ".join("'" + name.replace("'", "''") + "'" for name in job["files"])
connection.execute(f"CREATE VIEW records AS SELECT * FROM read_parquet([{files}], union_by_name=true)")
answers = []
for question in job["questions"]:
    best, rows = None, 0
    for _ in range(job["runs"]):
        started = time.perf_counter()
        rows = connection.sql(question).to_arrow_table().num_rows
        took = (time.perf_counter() - started) * 1000
        best = took if best is None else min(best, took)
    answers.append({"ms": best, "rows": rows})
json.dump(answers, sys.stdout)
