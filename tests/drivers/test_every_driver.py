"""What holds for each serial driver of the registry, shown on each of its vectors. A new driver needs no line here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Codec, Event, Measurement, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model, model_names
from gateway.inspect import decoded, event_line, has_sample
from simulators import catalogue as simulators

VECTORS = Path(__file__).parents[1] / "vectors"
COMMAND = Path(sys.executable).parent / "vitals-gateway"

KINDS = {"weight": "body_weight", "height": "body_height"}
UNITS = {"lb": "[lb_av]", "in": "[in_i]"}

Vector = dict[str, Any]


def vectors_of(driver: str) -> list[Vector]:
    file = VECTORS / f"{driver}.jsonl"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in lines]


BY_DRIVER = {name: vectors_of(name) for name in registry.serial_names()}
HEARD = [
    pytest.param(driver, vector, id=vector["id"])
    for driver, vectors in BY_DRIVER.items()
    for vector in vectors
    if vector["direction"] == "device->host"
]
each_vector = pytest.mark.parametrize(("driver", "vector"), HEARD)
each_driver = pytest.mark.parametrize("driver", registry.serial_names())


def fresh(driver: str) -> Codec:
    return registry.codec(driver, Quirks())


def raw_of(events: Sequence[Event]) -> bytes:
    return b"".join(event.raw for event in events)


def samples(events: Sequence[Event]) -> list[Sample]:
    return [event for event in events if isinstance(event, Sample)]


def assert_says_what_the_vector_says(events: Sequence[Event], vector: Vector) -> None:
    expected = vector["expected"]
    if not expected["ok"]:
        assert samples(events) == []
        told = [event.code for event in events if isinstance(event, Notice)]
        told += [event.reason for event in events if isinstance(event, Rejected)]
        assert expected["error"] in told
        return
    (sample,) = samples(events)
    said = {
        KINDS.get(name, name): Measurement(
            KINDS.get(name, name), value["value"], UNITS.get(value["unit"], value["unit"])
        )
        for name, value in expected["values"].items()
    }
    modifiers = {"tare": said.pop("tare")} if "tare" in said else {}
    assert {measurement.kind: measurement for measurement in sample.measurements} == said
    assert len(sample.measurements) == len(said)
    assert dict(sample.modifiers) == modifiers
    assert set(expected["flags"]) <= set(sample.flags)
    assert sample.device_user == expected.get("meta", {}).get("patient_id")
    assert sample.device_time is None
    assert sample.at is None, "a bare codec knows no clock"


# What each driver must have beside its code.


@each_driver
def test_a_driver_has_vectors_with_and_without_a_sample(driver: str) -> None:
    assert {vector["expected"]["ok"] for vector in BY_DRIVER[driver] if vector["direction"] == "device->host"} == {
        True,
        False,
    }
    assert all(vector["source"] for vector in BY_DRIVER[driver])


@each_driver
def test_a_driver_has_a_model(driver: str) -> None:
    assert driver in {load_model(name).driver for name in model_names()}


@each_driver
def test_a_driver_has_a_simulator_of_one_of_its_models(driver: str) -> None:
    assert driver in {load_model(name).driver for name in simulators.models()}


@pytest.mark.parametrize("model", model_names())
def test_a_model_names_a_driver_of_the_registry(model: str) -> None:
    row = load_model(model)
    assert row.driver in registry.names()
    if row.link == "serial":
        assert registry.driver(row).tick(0.0).events == ()
    else:
        assert set(registry.records(row.driver)) <= set(registry.characteristics(row.driver))


@pytest.mark.parametrize("model", simulators.models())
def test_what_the_simulator_says_the_driver_of_its_model_reads(model: str) -> None:
    simulated, driver = simulators.make(model), registry.driver(load_model(model))
    now, events = 0.0, list[Event]()
    for second in range(60):
        if second == 5:
            simulated.step_on(80.0)
        step = driver.tick(now)
        events += step.events
        for _ in range(10):
            now += 0.1
            step = driver.feed(simulated.receive(step.write) + simulated.advance(0.1), now)
            events += step.events
    assert samples(events), "a minute with someone on it, and no reading"
    assert not [event for event in events if isinstance(event, Rejected)]


def test_every_vector_file_belongs_to_a_driver() -> None:
    assert {file.stem for file in VECTORS.glob("*.jsonl")} - {"ble"} <= set(registry.names())


def test_a_name_that_is_no_driver_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        registry.codec("no_such_driver", Quirks())


# What each vector says, however it arrives.


@each_vector
def test_whole(driver: str, vector: Vector) -> None:
    frame, codec = bytes.fromhex(vector["bytes_hex"]), fresh(driver)
    events = codec.feed(frame)
    assert_says_what_the_vector_says(events, vector)
    assert raw_of(events) == frame
    assert codec.flush() == []


@each_vector
def test_byte_by_byte(driver: str, vector: Vector) -> None:
    frame, codec = bytes.fromhex(vector["bytes_hex"]), fresh(driver)
    early = [event for byte in frame[:-1] for event in codec.feed(bytes([byte]))]
    assert early == []
    assert codec.feed(frame[-1:]) == fresh(driver).feed(frame)


@each_vector
def test_split_at_every_position(driver: str, vector: Vector) -> None:
    frame = bytes.fromhex(vector["bytes_hex"])
    whole = fresh(driver).feed(frame)
    for position in range(len(frame) + 1):
        codec = fresh(driver)
        assert codec.feed(frame[:position]) + codec.feed(frame[position:]) == whole


@each_vector
def test_five_at_once(driver: str, vector: Vector) -> None:
    frame = bytes.fromhex(vector["bytes_hex"])
    assert fresh(driver).feed(frame * 5) == fresh(driver).feed(frame) * 5


@each_vector
@pytest.mark.parametrize(
    "noise", [b"\x00", b"\xff\xfe\x80", b"?#!\t", b"\x1b", b"\r", b"~" * 2000], ids=lambda noise: repr(noise[:4])
)
def test_noise_before(driver: str, vector: Vector, noise: bytes) -> None:
    frame, codec = bytes.fromhex(vector["bytes_hex"]), fresh(driver)
    events = codec.feed(noise + frame)
    assert_says_what_the_vector_says(events, vector)
    assert raw_of(events) == noise + frame
    if vector["expected"]["ok"]:
        assert samples(events) == samples(fresh(driver).feed(frame))


@each_vector
def test_half_a_frame_after(driver: str, vector: Vector) -> None:
    frame, codec = bytes.fromhex(vector["bytes_hex"]), fresh(driver)
    for length in range(1, len(frame)):
        assert codec.feed(frame + frame[:length]) == fresh(driver).feed(frame)
        assert codec.flush() == [Rejected("truncated", frame[:length])]


@each_vector
def test_a_good_frame_is_read_after_a_broken_one(driver: str, vector: Vector) -> None:
    good = next(v for v in BY_DRIVER[driver] if v["expected"]["ok"] and v["direction"] == "device->host")
    frame, following = bytes.fromhex(vector["bytes_hex"]), bytes.fromhex(good["bytes_hex"])
    assert fresh(driver).feed(frame + following)[-1] == fresh(driver).feed(following)[-1]


@each_vector
def test_one_bit_flipped_is_accounted_for(driver: str, vector: Vector) -> None:
    frame = bytes.fromhex(vector["bytes_hex"])
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        codec = fresh(driver)
        assert raw_of(codec.feed(bytes(flipped)) + codec.flush()) == flipped


# The command line says the same, and what is sent is what the manual names.


@each_vector
def test_decode_says_what_the_vector_says(driver: str, vector: Vector) -> None:
    frame = bytes.fromhex(vector["bytes_hex"])
    events = decoded(frame, model=None, driver=driver)
    assert events == fresh(driver).feed(frame)
    assert has_sample(events) == vector["expected"]["ok"]
    for event in events:
        said = json.loads(event_line(event))
        if isinstance(event, Sample):
            shown = {m["kind"]: (Decimal(m["value"]), m["unit"]) for m in said["measurements"]}
            assert shown == {m.kind: (m.value, m.unit) for m in event.measurements}
            assert all(m["value"] in frame.decode("ascii") for m in said["measurements"]), "the device's own digits"
            assert (said["flags"], said["device_user"]) == (list(event.flags), event.device_user)


@each_driver
def test_the_command_decodes_what_the_codec_decodes(driver: str, tmp_path: Path) -> None:
    heard = [v for v in BY_DRIVER[driver] if v["direction"] == "device->host"]
    for ok, status in ((True, 0), (False, 3)):
        captured = b"".join(bytes.fromhex(v["bytes_hex"]) for v in heard if v["expected"]["ok"] is ok)
        file = tmp_path / "captured"
        file.write_bytes(captured)
        for source in (("--hex", captured.hex()), ("--file", str(file))):
            ran = subprocess.run(
                [COMMAND, "decode", "--driver", driver, *source], capture_output=True, text=True, timeout=30
            )
            assert ran.stdout.splitlines() == [event_line(event) for event in fresh(driver).feed(captured)]
            assert (ran.returncode, ran.stderr) == (status, "")


@pytest.mark.parametrize("model", [name for name in model_names() if load_model(name).link == "serial"])
def test_only_the_requests_of_the_vectors_are_sent(model: str) -> None:
    row = load_model(model)
    requests = {bytes.fromhex(v["bytes_hex"]) for v in BY_DRIVER[row.driver] if v["direction"] == "host->device"}
    driver, now = registry.driver(row), 0.0
    step = driver.tick(now)
    written = {step.write}
    for _ in range(20):
        if step.deadline is None:
            break
        now = step.deadline
        step = driver.tick(now)
        written.add(step.write)
    assert written - {b""} == requests
