"""The schema of gateway.yaml: it is current, says a sentence on each key, and marks what the loader refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import TypeAdapter, ValidationError

from gateway import schema
from gateway.settings import ADDRESS, UNITS, GatewayFile

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "config" / "gateway.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft7Validator(SCHEMA)
LOADER = TypeAdapter(GatewayFile)
GOOD: dict[str, Any] = {
    "site": "northside",
    "room": "exam-3",
    "broker": {"url": "mqtts://broker.clinic.example"},
    "outbox": {"path": "outbox.db"},
    "devices": [{"id": "scale", "model": "health-o-meter-500kl", "port": "/dev/pts/7"}],
}
YAML_BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "config").rglob("*.md")])
    for number, block in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
]


def keys(part: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, part
    for name, below in part.get("properties", {}).items():
        yield from keys(below, f"{path}.{name}".removeprefix("."))
    if part.get("items", {}).get("properties"):
        for name, below in part["items"]["properties"].items():
            yield from keys(below, f"{path}.{name}")


def changed(path: str, value: object) -> dict[str, Any]:
    """GOOD with another value at `path`."""
    made: dict[str, Any] = json.loads(json.dumps(GOOD))
    *above, last = path.split(".")
    at: Any = made
    for step in above:
        at = at["devices"][0] if step == "devices" else at.setdefault(step, {})
    at[last] = value
    return made


def loads(document: object) -> bool:
    try:
        LOADER.validate_python(document)
    except ValidationError:
        return False
    return True


def test_the_file_is_what_the_settings_say() -> None:
    written = (ROOT / "config" / "gateway.schema.json").read_text(encoding="utf-8")
    assert written == schema.text(), "run: python -m gateway.schema > config/gateway.schema.json"


def test_it_is_a_schema_of_draft_7_without_references() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert "$ref" not in json.dumps(SCHEMA)


def test_each_key_has_a_sentence_for_it() -> None:
    for path, part in keys(SCHEMA):
        assert re.fullmatch(r"\S.*\.", part.get("description", ""), re.DOTALL), (
            f"gateway/schema.py says nothing of {path}"
        )
    assert {"broker.password_file", "devices.serial.parity", "outbox.keep_days"} <= {path for path, _ in keys(SCHEMA)}


def test_what_is_said_is_said_of_a_key_that_is_there() -> None:
    assert set(schema.KEYS) - {"devices.*", "broker.urls.*"} <= {path for path, _ in keys(SCHEMA)}


def test_the_catalogue_is_offered_and_a_model_of_the_sites_own_is_taken() -> None:
    offered = SCHEMA["properties"]["devices"]["items"]["properties"]["model"]["examples"]
    assert sorted(f"{name}.yaml" for name in offered) == sorted(
        f.name for f in (ROOT / "config/devices").glob("*.yaml")
    )
    assert VALIDATOR.is_valid(changed("devices.model", "our-own-scale"))


def test_the_example_fits_with_what_stands_in_it_as_a_comment_too() -> None:
    text = (ROOT / "config" / "gateway.example.yaml").read_text(encoding="utf-8")
    VALIDATOR.validate(yaml.safe_load(text))
    assert (
        "$schema=/opt/vitals-gateway/share/vitals-gateway/config/gateway.schema.json" in text
    )  # where the package has it
    whole = yaml.safe_load(re.sub(r"^( *)# ?( *[a-z_]+:)", r"\1\2", text, flags=re.MULTILINE))
    assert {"metrics", "ranges", "models_dir"} <= whole.keys()
    assert whole["broker"].pop("url")  # in place of urls
    VALIDATOR.validate(whole)


@pytest.mark.parametrize("block", YAML_BLOCKS)
def test_yaml_in_the_docs_fits(block: str) -> None:
    """A piece of a gateway.yaml: some of its keys, or some devices. Other YAML (a playbook) has none of its keys."""
    piece = yaml.safe_load(block)
    if isinstance(piece, list) and all("model" in device for device in piece):
        Draft7Validator(SCHEMA["properties"]["devices"]).validate(
            [{"port" if "address" not in device else "address": "/", **device} for device in piece]
        )
    elif isinstance(piece, dict) and piece.keys() & SCHEMA["properties"].keys():
        VALIDATOR.validate(piece)


def test_there_is_yaml_in_the_docs() -> None:
    assert len(YAML_BLOCKS) >= 3


def test_a_part_of_a_configuration_lacks_nothing() -> None:
    VALIDATOR.validate({"site": "northside", "broker": {"username": "exam-3"}, "outbox": {"keep_days": 7}})
    room = {"include": "site.yaml", "room": "exam-3", "broker": {"password_file": "mqtt-password"}, "metrics": {}}
    assert {error.validator for error in VALIDATOR.iter_errors(room)} <= {"additionalProperties"}
    assert not VALIDATOR.is_valid({"site": "northside", "broker": {"user": "exam-3"}})


@pytest.mark.parametrize("key", ["site", "broker", "outbox", "devices"])
def test_a_whole_one_lacks_what_it_lacks(key: str) -> None:
    assert not VALIDATOR.is_valid({other: value for other, value in GOOD.items() if other != key})


RIGHT: list[tuple[str, object]] = [
    ("broker", {"urls": ["mqtts://a", "mqtts://[::1]:8883/"], "protocol": "3.1.1", "allow_plaintext": False}),
    ("broker", {"url": "mqtt://localhost", "username": "x", "password_file": "p", "protocol": 5}),
    ("metrics", {"port": 9464}),
    ("metrics", {"textfile": "/var/lib/x.prom"}),
    ("devices.unit", "lb"),
    ("devices.unit", "[lb_av]"),
    ("devices.serial", {"baud": 2400, "parity": "even"}),
    ("version", 1),
    ("timezone", "America/Chicago"),
]
# What the schema knows to be wrong, and so does `check`, by one rule or another.
WRONG: list[tuple[str, object]] = [
    ("rooom", "exam-3"),
    ("room", "exam 3"),
    ("room", 3),
    ("site", ""),
    ("version", 2),
    ("publish_raw", "yes please"),
    ("broker", {}),
    ("broker", {"url": "mqtts://a", "urls": ["mqtts://b"]}),
    ("broker", {"urls": []}),
    ("broker", {"url": "https://a"}),
    ("broker", {"url": "mqtts://me:secret@a"}),
    ("broker", {"url": "mqtts://a", "password": "secret"}),
    ("broker", {"url": "mqtts://a", "password_file": "p"}),
    ("broker", {"url": "mqtts://a", "client_cert_file": "c"}),
    ("broker", {"url": "mqtts://a", "protocol": 4}),
    ("outbox", {}),
    ("outbox.keep_days", 0),
    ("outbox.keep_days", "7"),
    ("outbox.max_mb", 15),
    ("devices", []),
    ("devices.id", "my scale"),
    ("devices.port", "ttyUSB0"),
    ("devices.address", "C8:1E:8E:00:00:01"),  # beside a port
    ("devices.unit", "stone"),
    ("devices.stored", "keep"),
    ("devices.user", 255),
    ("devices.serial", {"baud": 9601}),
    ("devices.serial", {"bauds": 9600}),
    ("metrics", {}),
    ("metrics", {"port": 80}),
    ("metrics", {"textfile": "x.txt"}),
]


@pytest.mark.parametrize(("path", "value"), RIGHT)
def test_what_is_right_fits(path: str, value: object) -> None:
    VALIDATOR.validate(changed(path, value))
    assert loads(changed(path, value))


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_what_is_wrong_is_marked(path: str, value: object) -> None:
    assert VALIDATOR.is_valid(GOOD)
    assert not VALIDATOR.is_valid(changed(path, value))


EDGES: list[object] = [
    *("", " ", "exam-3", "a" * 64, "a" * 65, "a/b", "/dev/pts/7", "x.prom", "x.prom ", "3.1.1", "5", "publish", "even"),
    *("mqtts://a:1", "mqtt://a/", "mqtt://", "mqtts://[::1]", "mqtts://a b", "MQTT://a", "mqtts://a:b", *UNITS),
    *(-1, 0, 1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 254, 255, 1023, 1024, 3650, 3651, 65535, 65536, 1_000_000, 1_000_001),
    *(2400, 9600, 9601, True, False, None, 1.5),
]
PARTS = dict(keys(SCHEMA))
LEAVES = [
    path
    for path, part in PARTS.items()
    if part.get("type") not in ("object", "array") and path not in ("timezone", "devices.address")
]


def agree(path: str, value: object) -> None:
    document = changed(path, value)
    if path.startswith("broker."):
        for other in ("username", "client_cert_file", "client_key_file"):
            document["broker"].setdefault(other, "x")
    fits, taken = VALIDATOR.is_valid(document), loads(document)
    assert fits or not taken, f"the schema marks what is right: {path}: {value!r}"
    # The loader alone sees characters that cannot be printed, and a port over 65535 in a url.
    if not isinstance(value, str) or (value.isprintable() and not re.search(r":\d{5}", value)):
        assert taken or not fits, f"the loader refuses what fits: {path}: {value!r}"


@pytest.mark.parametrize("path", LEAVES)
def test_the_loader_and_the_schema_agree_on_the_edges_of_a_value(path: str) -> None:
    for value in EDGES:
        if not (isinstance(value, bool) and {"enum", "const"} & PARTS[path].keys()):  # to the loader true is 1, there
            agree(path, value)


@given(st.sampled_from(LEAVES), st.text(max_size=8))
def test_the_loader_and_the_schema_agree_on_a_text(path: str, text: str) -> None:
    agree(path, text)


@given(st.text(max_size=20) | st.from_regex(ADDRESS, fullmatch=True) | st.just("C8:1E:8E:00:00:0g"))
def test_the_loader_and_the_schema_agree_on_an_address(text: str) -> None:
    device = {"id": "cuff", "model": "and-ua-651ble", "address": text}
    document = {**GOOD, "devices": [device]}
    assert VALIDATOR.is_valid(document) == loads(document)
