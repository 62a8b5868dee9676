"""The floor: what MQTT, the disk and a pty cost by themselves, with nothing of a contender between them."""

from __future__ import annotations

import os
import sqlite3
import statistics
import threading
import time
import tty
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.frames import frame
from benchmarks.goals import Facts
from benchmarks.stage import Stage
from benchmarks.tables import percentile, show, spread

TOPIC = "bench/floor"
ROUNDS = 500
PIPELINED = 50_000
PAYLOAD = 700  # bytes, about a reading's
PAUSE_S = 0.005
PATIENCE_S = 120.0


class Echo:
    """One paho client that sends and one that receives."""

    def __init__(self, port: int) -> None:
        self.came = threading.Event()
        self._acknowledged = threading.Semaphore(0)
        self.sends, self._receives = self._client(port), self._client(port)
        self._receives.on_message = self._on_message
        ready = threading.Event()
        self._receives.on_subscribe = lambda *_: ready.set()
        self._receives.subscribe(TOPIC, qos=1)
        if not ready.wait(PATIENCE_S):
            raise RuntimeError("the broker does not answer")
        self.sends.on_publish = lambda *_: self._acknowledged.release()

    @staticmethod
    def _client(port: int) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        client.connect("127.0.0.1", port)
        client.loop_start()
        return client

    def _on_message(self, _client: Client, _data: object, _message: MQTTMessage) -> None:
        self.came.set()

    def round_trip(self, payload: bytes, db: sqlite3.Connection | None) -> float:
        """Answer how many seconds one message took, with a commit before it where there is a database."""
        self.came.clear()
        began = time.monotonic()
        if db is not None:
            db.execute("INSERT INTO queue (line) VALUES (?)", (payload,))
        self.sends.publish(TOPIC, payload, qos=1)
        if not self.came.wait(PATIENCE_S):
            raise RuntimeError("a message was lost")
        took = time.monotonic() - began
        time.sleep(PAUSE_S)
        return took

    def pipelined(self, count: int) -> float:
        """Answer how many messages a second paho sends by its own window, to the last PUBACK. Nobody subscribes."""
        while self._acknowledged.acquire(blocking=False):
            pass
        began = time.monotonic()
        for _ in range(count):
            self.sends.publish(f"{TOPIC}/pipelined", b"x" * PAYLOAD, qos=1)
        for _ in range(count):
            if not self._acknowledged.acquire(timeout=PATIENCE_S):
                raise RuntimeError("a PUBACK did not come")
        return count / (time.monotonic() - began)

    def close(self) -> None:
        """Hang up."""
        for client in (self.sends, self._receives):
            client.disconnect()
            client.loop_stop()


def pty_round(count: int) -> list[float]:
    """Answer how many seconds each of so many frames takes from the write to the read at the other end."""
    master, slave = os.openpty()
    tty.setraw(slave)
    took = []
    for number in range(count):
        data = frame(number)
        began = time.monotonic()
        os.write(master, data)
        got = b""
        while len(got) < len(data):
            got += os.read(slave, 256)
        took.append(time.monotonic() - began)
    os.close(slave)
    os.close(master)
    return took


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    size = stage.size
    rounds, pipelined = size.count(ROUNDS), size.count(PIPELINED)
    measured: dict[str, list[list[float]]] = {"pty write → read": [], "paho → Mosquitto → paho": []}
    committed = measured.setdefault("the same, one SQLite commit (WAL, FULL) before it", [])
    rates = []
    for run in range(size.runs):
        echo = Echo(stage.broker.port)
        db = _database(stage.folder / f"floor-{run}.db")
        measured["pty write → read"].append(pty_round(rounds))
        payload = frame(run)
        measured["paho → Mosquitto → paho"].append([echo.round_trip(payload, None) for _ in range(rounds)])
        committed.append([echo.round_trip(payload, db) for _ in range(rounds)])
        rates.append(echo.pipelined(pipelined))
        db.close()
        echo.close()
    rows = [
        (
            name,
            spread([statistics.median(run) * 1000 for run in runs], 3),
            spread([percentile(run, 99) * 1000 for run in runs], 3),
        )
        for name, runs in measured.items()
    ]
    show("The floor", ("", "p50 ms", "p99 ms"), rows, f"{size.runs} runs of {rounds}.")
    print(f"\npaho's own pipelined rate, QoS 1, {PAYLOAD} bytes, {pipelined} messages: {spread(rates, 0)} a second")
    return {"pipelined/s | paho": statistics.median(rates)}


def _database(path: Path) -> sqlite3.Connection:
    """Answer one like that of the script with a queue."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, line BLOB)")
    return db
