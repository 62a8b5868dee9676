"""What a careful technician would write: each line is committed before it is sent, and deleted at its PUBACK.

usage: script_sqlite.py DATABASE BROKER_PORT SERIAL_PORT...

A connection for each thread, as sqlite3 asks for. With ONE_CONNECTION=1 in the environment all share one, which spares
them the waiting for each other's lock.
"""

import os
import sqlite3
import sys
import threading

import paho.mqtt.client as mqtt
import serial
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

ONE_CONNECTION = os.environ.get("ONE_CONNECTION") == "1"

own = threading.local()
sent_rows: dict[int, int] = {}  # row by message id
sent = threading.Condition()


def connect() -> sqlite3.Connection:
    db = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False, timeout=60)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db


shared, in_use = connect(), threading.Lock()
shared.execute("CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, topic TEXT, line BLOB)")


def execute(statement: str, values: tuple[object, ...]) -> int:
    if ONE_CONNECTION:
        with in_use:
            return shared.execute(statement, values).lastrowid or 0
    if not hasattr(own, "db"):
        own.db = connect()
    return int(own.db.execute(statement, values).lastrowid or 0)


def on_publish(_client: mqtt.Client, _data: object, mid: int, _code: ReasonCode, _properties: Properties) -> None:
    with sent:
        sent.wait_for(lambda: mid in sent_rows, 1.0)  # the PUBACK may be faster than publish() returns
        row = sent_rows.pop(mid, None)
    execute("DELETE FROM queue WHERE id = ?", (row,))


def publish(row: int, topic: str, line: bytes) -> None:
    mid = client.publish(topic, line, qos=1).mid
    with sent:
        sent_rows[mid] = row
        sent.notify_all()


def read(number: int, path: str) -> None:
    topic = f"vitals/v1/bench/script-{number}/test/reading"
    port = serial.Serial(path, timeout=1)
    while True:
        line = port.readline()
        if line:
            publish(execute("INSERT INTO queue (topic, line) VALUES (?, ?)", (topic, line)), topic, line)


client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.on_publish = on_publish
client.connect("127.0.0.1", int(sys.argv[2]))
client.loop_start()
for left in shared.execute("SELECT id, topic, line FROM queue ORDER BY id").fetchall():
    publish(*left)
for number, path in enumerate(sys.argv[3:-1]):
    threading.Thread(target=read, args=(number, path), daemon=True).start()
read(len(sys.argv) - 4, sys.argv[-1])
