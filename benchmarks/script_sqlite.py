"""What a careful technician would write: each line is committed before it is sent, and deleted at its PUBACK.

usage: script_sqlite.py DATABASE BROKER_PORT SERIAL_PORT...
"""

import sqlite3
import sys
import threading

import paho.mqtt.client as mqtt
import serial
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

db = sqlite3.connect(sys.argv[1], check_same_thread=False, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, topic TEXT, line BLOB)")
using_db = threading.Lock()
rows_sent: dict[int, int] = {}  # row by message id
sent = threading.Condition()


def on_publish(_client: mqtt.Client, _data: object, mid: int, _code: ReasonCode, _properties: Properties) -> None:
    with sent:
        sent.wait_for(lambda: mid in rows_sent, 1.0)  # the PUBACK may be faster than publish() returns
        row = rows_sent.pop(mid, None)
    with using_db:
        db.execute("DELETE FROM queue WHERE id = ?", (row,))


def publish(row: int, topic: str, line: bytes) -> None:
    mid = client.publish(topic, line, qos=1).mid
    with sent:
        rows_sent[mid] = row
        sent.notify_all()


def read(number: int, path: str) -> None:
    topic = f"vitals/v1/bench/script-{number}/test/reading"
    port = serial.Serial(path, timeout=1)
    while True:
        line = port.readline()
        if line:
            with using_db:
                row = db.execute("INSERT INTO queue (topic, line) VALUES (?, ?)", (topic, line)).lastrowid
            publish(row or 0, topic, line)


client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.on_publish = on_publish
client.connect("127.0.0.1", int(sys.argv[2]))
client.loop_start()
for left in db.execute("SELECT id, topic, line FROM queue ORDER BY id").fetchall():
    publish(*left)
for number, path in enumerate(sys.argv[3:-1]):
    threading.Thread(target=read, args=(number, path), daemon=True).start()
read(len(sys.argv) - 4, sys.argv[-1])
