#!/usr/bin/env python3
"""Takes a topic into a Delta table the way a script would: what `kafka-delta-ingest` does, with stock Python packages.

    ingest_baseline.py <bootstrap> <topic> <schema.avsc> <empty folder> <records at most>

confluent-kafka reads, fastavro decodes, pyarrow makes columns, deltalake writes Parquet and commits files and offsets together. There is no
proof of any kind in it: no strict reading, no digests, no second look at what was written. Prints `<records> <seconds>`.
"""
import io
import json
import sys
import time

import confluent_kafka
import deltalake
import fastavro
import pyarrow

bootstrap, topic, schema_file, folder, most = sys.argv[1:]
most = int(most)
with open(schema_file) as file:
    schema = fastavro.parse_schema(json.load(file))

BATCH = 50_000


def arrow_type(avro):
    """The Arrow type of an Avro type, so that a batch in which a column is null throughout has it all the same."""
    if isinstance(avro, list):
        return arrow_type(next(t for t in avro if t != "null"))
    if isinstance(avro, dict):
        if avro.get("logicalType") == "timestamp-micros":
            return pyarrow.timestamp("us", tz="UTC")
        if avro["type"] == "record":
            fields = [(f["name"], arrow_type(f["type"])) for f in avro["fields"]]
            names[avro["name"]] = pyarrow.struct(fields)
            return names[avro["name"]]
        if avro["type"] == "array":
            return pyarrow.list_(arrow_type(avro["items"]))
        if avro["type"] == "enum":
            names[avro["name"]] = pyarrow.string()
            return pyarrow.string()
        return arrow_type(avro["type"])
    simple = {"string": pyarrow.string(), "bytes": pyarrow.binary(), "long": pyarrow.int64(), "int": pyarrow.int32(), "double": pyarrow.float64(), "boolean": pyarrow.bool_()}
    return simple.get(avro) or names[avro] if avro in simple else names.get(avro) or names[avro.rsplit(".", 1)[-1]]


names = {}
columns = pyarrow.schema([(f["name"], arrow_type(f["type"])) for f in schema["fields"]])
columns = columns.append(pyarrow.field("partition", pyarrow.int32())).append(pyarrow.field("offset", pyarrow.int64()))

consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "baseline", "enable.auto.commit": False, "fetch.queue.backoff.ms": 2})
partitions = consumer.list_topics(topic).topics[topic].partitions
assigned, left = [], 0
for partition in partitions:
    low, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition))
    assigned.append(confluent_kafka.TopicPartition(topic, partition, low))
    left += high - low
left = min(left, most)
consumer.assign(assigned)

begun, taken = time.monotonic(), 0
rows, ends = [], {}


def commit():
    table = pyarrow.Table.from_pylist(rows, schema=columns)
    offsets = [deltalake.Transaction(app_id=f"{topic}/{p}", version=o) for p, o in ends.items()]
    deltalake.write_deltalake(folder, table, mode="append", commit_properties=deltalake.CommitProperties(app_transactions=offsets))
    rows.clear()


while taken < left:
    for message in consumer.consume(min(10_000, left - taken), timeout=30):
        if message.error():
            sys.exit(str(message.error()))
        record = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema)
        record["partition"], record["offset"] = message.partition(), message.offset()
        rows.append(record)
        ends[message.partition()] = message.offset() + 1
        taken += 1
    if len(rows) >= BATCH:
        commit()
if rows:
    commit()
print(taken, time.monotonic() - begun)
