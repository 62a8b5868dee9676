"""The JSON Schema of gateway.yaml, for editors: they complete its keys and mark what cannot be right.

    python -m gateway.schema > config/gateway.schema.json

1. Keys, types, words and defaults are those of settings.py; a key that is new there is here by itself.
2. Here stand the sentence on each key and the limits of its value, as far as JSON Schema can say them. It never marks
   what `vitals-gateway check` takes; `check` knows more: which models there are, and all that must fit together.
3. Draft 7, and no references: what every editor understands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from gateway.catalogue import model_names
from gateway.settings import (
    ADDRESS,
    MAX_KEEP_DAYS,
    MAX_MAX_MB,
    MIN_MAX_MB,
    UNITS,
    GatewayFile,
)

_Schema = dict[str, Any]
_DROP = None  # what the models say of this key, and an editor should not show

_LEVEL = {"pattern": "^[A-Za-z0-9_-]{1,64}$"}
_FILLED = {"pattern": r"\S"}
_URL = {"pattern": r"^mqtts?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?$"}
_SERIAL = {"default": _DROP}  # left out, it is the model's own


def _says(words: str, **limits: object) -> _Schema:
    return {"description": words, **limits}


# By the path of a key. `devices` is a list: what is said of `devices.id` holds for each entry.
KEYS: Mapping[str, _Schema] = {
    "": _says("One room's configuration of the vitals gateway."),
    "version": _says("The version of this file's format."),
    "site": _says("The clinic: a level of each topic. No patient's name or number.", **_LEVEL),
    "room": _says("The room: a level of each topic, and with the site the gateway's name.", **_LEVEL),
    "timezone": _says(
        "What the clocks of the room's devices show.",
        examples=["America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"],
    ),
    "publish_raw": _says("true puts each frame's bytes into its reading: an ID keyed in at a device may be in them."),
    "ranges": _says("A file with limits of the site's own; left out: the packaged ones.", **_FILLED),
    "include": _says(
        "What several rooms share: a file beside this one, or a list of them; the later wins, and this file over all.",
        anyOf=[{"type": "string", **_FILLED}, {"type": "array", "items": {"type": "string", **_FILLED}, "minItems": 1}],
    ),
    "on_device_error": _says("run_others: a device whose entry is wrong is left out, and the others run."),
    "models_dir": _says("A folder with device models of the site's own, one YAML file each.", **_FILLED),
    "broker": _says("The MQTT broker that takes the readings."),
    "broker.url": _says(
        "Where it listens, such as mqtts://broker.clinic.example:8883. mqtt:// (no TLS) only to this machine itself.",
        **_URL,
    ),
    "broker.urls": _says("In place of url: the members of a cluster, tried in order, then round again.", minItems=1),
    "broker.urls.*": dict(_URL),
    "broker.protocol": _says("MQTT 5, or 3.1.1 (in quotes), which cannot mark what is sent again."),
    "broker.username": _says("The account at the broker.", **_FILLED),
    "broker.password_file": _says(
        "The file that holds the password alone. A bare name: a systemd credential if there is one, else beside this"
        " file.",
        **_FILLED,
    ),
    "broker.ca_file": _says("Who signed the broker's certificate (PEM); left out: the system's list.", **_FILLED),
    "broker.client_cert_file": _says("Our own certificate (PEM), where the broker asks for one.", **_FILLED),
    "broker.client_key_file": _says("The key of our own certificate (PEM).", **_FILLED),
    "broker.allow_plaintext": _says("true: mqtt:// to other machines too. Readings and password cross in the clear."),
    "outbox": _says("Where readings are kept until the broker has them, and for a while after."),
    "outbox.path": _says("The database, on a disk that survives a restart. It is patient data.", **_FILLED),
    "outbox.keep_days": _says(
        "How many days a delivered reading stays, to be traced or sent again.", minimum=1, maximum=MAX_KEEP_DAYS
    ),
    "outbox.max_mb": _says(
        "What the file may take. Delivered readings go first, waiting ones never.",
        minimum=MIN_MAX_MB,
        maximum=MAX_MAX_MB,
    ),
    "metrics": _says("Counts for Prometheus, without patient data. Left out: none."),
    "metrics.port": _says("http://127.0.0.1:PORT/metrics, on this machine alone.", minimum=1024, maximum=65535),
    "metrics.textfile": _says("A file for node_exporter's textfile collector; it ends in .prom.", pattern=r"\.prom$"),
    "devices": _says("The room's devices.", minItems=1),
    "devices.*": _says(
        "One device: with a port where its model is serial, an address where it speaks Bluetooth.",
        oneOf=[{"required": ["port"]}, {"required": ["address"]}],
    ),
    "devices.id": _says("Its name in topics and logs.", **_LEVEL),
    "devices.model": _says(
        "Its row in the catalogue (vitals-gateway models), or a file in models_dir without .yaml.", **_FILLED
    ),
    "devices.port": _says(
        "The serial port by its USB socket: /dev/serial/by-path/… (ls -l /dev/serial/by-path).", pattern="^/"
    ),
    "devices.address": _says('The Bluetooth address, in quotes: "C8:1E:8E:00:00:01".', pattern=f"^{ADDRESS.pattern}$"),
    "devices.stored": _says(
        "What was measured earlier, on whomever: held (quarantine), or sent as usable all the same (publish)."
    ),
    "devices.unit": _says(
        "Pinned: what the device is set to. A value that arrives in another unit is held.", enum=list(UNITS)
    ),
    "devices.user": _says("The user's number in a scale that asks for consent.", minimum=0, maximum=254),
    "devices.consent_file": _says("The file that holds that user's consent code alone.", **_FILLED),
    "devices.serial": _says("The line as the device's own menu says, where it is not as its model's row says."),
    "devices.serial.baud": _says("Bits per second.", **_SERIAL),
    "devices.serial.data_bits": _says("Data bits.", **_SERIAL),
    "devices.serial.parity": _says("Parity.", **_SERIAL),
    "devices.serial.stop_bits": _says("Stop bits.", **_SERIAL),
    "devices.serial.flow_control": _says("Flow control.", **_SERIAL),
}

# What must stand in a configuration, by the key of its mapping; beside what the models require.
TOGETHER: Mapping[str, _Schema] = {
    "broker": {
        "oneOf": [{"required": ["url"]}, {"required": ["urls"]}],
        "dependencies": {
            "password_file": ["username"],
            "client_cert_file": ["client_key_file"],
            "client_key_file": ["client_cert_file"],
        },
    },
    "metrics": {"anyOf": [{"required": ["port"]}, {"required": ["textfile"]}]},
}
# A file that includes another, or that names no room, is a part of a configuration: what it lacks stands elsewhere.
_IS_A_PART: _Schema = {"anyOf": [{"required": ["include"]}, {"not": {"required": ["room"]}}]}


def schema() -> _Schema:
    """Answer the schema of the file."""
    made = TypeAdapter(GatewayFile).json_schema()
    document = _finished(made, "", made.pop("$defs"))
    parts: _Schema = document["properties"]
    # Examples, no list of all: a site has models of its own.
    parts["devices"]["items"]["properties"]["model"]["examples"] = model_names(None)
    whole: _Schema = {"required": document.pop("required"), "properties": {}}
    for key, part in parts.items():
        must = {"required": part.pop("required")} if "required" in part else {}
        if must := must | TOGETHER.get(key, {}):
            whole["properties"][key] = must
    draft = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "gateway.yaml"}
    return {**draft, **document, "if": _IS_A_PART, "else": whole}


def _finished(given: _Schema, path: str, parts: Mapping[str, _Schema]) -> _Schema:
    """Answer one part of pydantic's schema with its references put in, and with what is said here of its key."""
    ours = KEYS.get(path, {})
    if "$ref" in given:
        given = parts[given["$ref"].rpartition("/")[2]]
    models = {key: value for key, value in given.items() if key != "title" and not _says_not_there(key, value)}
    made = {**ours, **models, **ours}  # what is said here comes first, and holds
    if "properties" in made:
        prefix = f"{path}.".removeprefix(".").removesuffix("*.")  # of a list's entries: devices.id
        made["properties"] = {
            key: _finished(value, f"{prefix}{key}", parts) for key, value in made["properties"].items()
        }
    if "items" in made:
        made["items"] = _finished(made["items"], f"{path}.*", parts)
    return {key: value for key, value in made.items() if value is not _DROP}


def _says_not_there(key: str, value: object) -> bool:
    """Whether it is a default that only says that the key is not there: "", [], 0."""
    return key == "default" and not value and value is not False


def text() -> str:
    """Answer the text of config/gateway.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
