"""What a technician would write: every line of the ports to MQTT, QoS 1; nothing is kept. A contender.

usage: script.py BROKER_PORT SERIAL_PORT...
"""

import sys
import threading

import paho.mqtt.client as mqtt
import serial
from paho.mqtt.enums import CallbackAPIVersion

client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_start()


def read(number: int, path: str) -> None:
    port = serial.Serial(path, timeout=1)
    while True:
        line = port.readline()
        if line:
            client.publish(f"vitals/v1/bench/script-{number}/test/reading", line, qos=1)


for number, path in enumerate(sys.argv[2:-1]):
    threading.Thread(target=read, args=(number, path), daemon=True).start()
read(len(sys.argv) - 3, sys.argv[-1])
