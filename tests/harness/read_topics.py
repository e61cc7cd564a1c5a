"""Reads a topic as a stranger would: confluent-kafka with its Avro deserializer and a schema registry.

    read_topics.py --brokers HOST:PORT --registry URL --topic NAME [--topic NAME …] [--timeout SECONDS]

Prints one JSON object per record, in the order of partition and offset, and ends at the end that each partition had when it
started. `reencoded_sha256` is over the datum as fastavro writes the decoded record again: it equals the record's own digest
when a stock client has read exactly what was written.
"""

import argparse
import hashlib
import io
import json
import sys
import uuid

import fastavro
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def plain(value):
    """What JSON has no word for, as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--topic", required=True, action="append")
    parser.add_argument("--timeout", type=float, default=60)
    args = parser.parse_args()

    registry = SchemaRegistryClient({"url": args.registry})
    deserialize = AvroDeserializer(registry)
    consumer = Consumer({
        "bootstrap.servers": args.brokers,
        "group.id": f"read-topics-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
    })
    for topic in args.topic:
        schema = fastavro.parse_schema(json.loads(registry.get_latest_version(f"{topic}-value").schema.schema_str))
        for partition in sorted(consumer.list_topics(topic, args.timeout).topics[topic].partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), args.timeout)
            consumer.assign([TopicPartition(topic, partition, low)])
            offset = low
            while offset < high:
                message = consumer.poll(args.timeout)
                if message is None:
                    sys.exit(f"nothing came for {args.timeout} s at offset {offset} of {topic}/{partition}, which ends at {high}")
                if message.error():
                    sys.exit(f"{topic}/{partition}: {message.error()}")
                offset = message.offset() + 1
                record = deserialize(message.value(), SerializationContext(topic, MessageField.VALUE))
                again = io.BytesIO()
                fastavro.schemaless_writer(again, schema, record)
                print(json.dumps({
                    "topic": topic,
                    "partition": partition,
                    "offset": message.offset(),
                    "timestamp_ms": message.timestamp()[1],
                    "key": message.key().decode(),
                    "record": plain(record),
                    "reencoded_sha256": hashlib.sha256(again.getvalue()).hexdigest(),
                }))
    consumer.close()


if __name__ == "__main__":
    main()
