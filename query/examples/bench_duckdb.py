"""DuckDB's half of bench_queries: a job as JSON on standard input, times and row counts as JSON on standard output."""
import json
import sys
import time

import duckdb

job = json.load(sys.stdin)
files = ", ".join("'" + name.replace("'", "''") + "'" for name in job["files"])


def drop_page_cache():
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("1")
    except OSError:
        pass


def ask(connection, question):
    started = time.perf_counter()
    rows = connection.sql(question).to_arrow_table().num_rows
    return rows, (time.perf_counter() - started) * 1000


answers = []
for question in job["questions"]:
    drop_page_cache()
    connection = duckdb.connect()
    # It would be drawn into the answer.
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"CREATE VIEW records AS SELECT * FROM read_parquet([{files}], union_by_name=true)")
    rows, cold = ask(connection, question)
    best = min(ask(connection, question)[1] for _ in range(job["runs"]))
    answers.append({"cold_ms": cold, "ms": best, "rows": rows})
    connection.close()
json.dump(answers, sys.stdout)
