"""What a technician would write instead: every line of the port to MQTT, QoS 1; nothing is kept. The contender."""

import sys

import paho.mqtt.client as mqtt
import serial
from paho.mqtt.enums import CallbackAPIVersion

port = serial.Serial(sys.argv[1], timeout=1)
client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.connect("127.0.0.1", int(sys.argv[2]))
client.loop_start()
while True:
    line = port.readline()
    if line:
        client.publish("vitals/v1/bench/script/test/reading", line, qos=1)
