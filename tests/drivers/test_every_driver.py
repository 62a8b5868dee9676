"""What holds for each serial driver of the registry, shown on each of its vectors. A new driver needs no line here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Codec, Event, Measurement, Notice, Rejected, Sample
from drivers.models import DeviceModel, Quirks
from gateway.catalogue import load_model, model_names
from gateway.inspect import decoded, event_line, has_sample
from simulators import catalogue as simulators
from simulators.faults import Faults
from simulators.story import clinic, perform

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
COMMAND = Path(sys.executable).parent / "vitals-gateway"

# The vector files' words in the contract's, section 1.
KINDS = {
    "weight": "body_weight",
    "height": "body_height",
    "mean_bp": "mean_arterial_pressure",
    "map": "mean_arterial_pressure",
    "pulse": "pulse_rate",
    "spo2": "oxygen_saturation",
    "temperature": "body_temperature",
}
UNITS = {"lb": "[lb_av]", "oz": "[oz_av]", "in": "[in_i]", "mmHg": "mm[Hg]", "degC": "Cel", "degF": "[degF]"}
NO_VITALS = {"tare", "cuff_pressure", "ambient"}  # the contract: a vector of nothing else has no sample

# Drivers whose protocol has a check over the whole frame: no flipped bit may give another value.
CHECKED = {
    *("and_tm", "dinamap", "nonin_df2", "suntech", "suretemp", "taidoc", "tanita", "terumo", "toledo_continuous"),
}
# Drivers whose numbers do not stand in the frame as decimal text, digit by digit.
WORKED_OUT = {
    *("and_ua767", "detecto_csv", "dinamap", "nonin_df2", "rice_lake_print", "suntech", "suretemp", "taidoc"),
    *("tanita", "toledo_continuous"),
}
# Drivers that ask. All others send nothing at all.
POLLED = {"dinamap", "mt_sics", "rice_lake_esc", "sma", "nci", "suntech", "suretemp", "taidoc"}
DAY_S = 600.0

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


def has_sample_of(vector: Vector) -> bool:
    return bool(vector["expected"]["ok"] and set(vector["expected"]["values"]) - NO_VITALS)


def assert_says_what_the_vector_says(events: Sequence[Event], vector: Vector) -> None:
    expected = vector["expected"]
    if not has_sample_of(vector):
        assert samples(events) == []
        told = [event.code for event in events if isinstance(event, Notice)]
        told += [event.reason for event in events if isinstance(event, Rejected)]
        assert told
        assert expected["error"] is None or expected["error"] in told
        return
    (sample,) = samples(events)
    said = {
        KINDS.get(name, name): Measurement(
            KINDS.get(name, name), value["value"], UNITS.get(value["unit"], value["unit"])
        )
        for name, value in expected["values"].items()
    }
    modifiers = {"tare": said.pop("tare")} if "tare" in said else {}
    assert {measurement.kind: measurement for measurement in sample.measurements} == {
        kind: measurement for kind, measurement in said.items() if kind not in NO_VITALS
    }
    assert len({measurement.kind for measurement in sample.measurements}) == len(sample.measurements)
    assert {name: m for name, m in sample.modifiers.items() if name == "tare"} == modifiers
    assert set(expected["flags"]) <= set(sample.flags)
    meta = expected.get("meta", {})
    if "patient_id" in meta:
        assert sample.device_user == meta["patient_id"]
    if "device_time" in meta:
        assert sample.device_time == datetime.fromisoformat(meta["device_time"].split(" ")[0])
    assert sample.device_time is None or sample.device_time.tzinfo is None
    assert sample.at is None, "a bare codec knows no clock"


# What each driver must have beside its code.


@each_driver
def test_a_driver_has_vectors_and_one_with_a_sample(driver: str) -> None:
    assert any(has_sample_of(vector) for vector in BY_DRIVER[driver] if vector["direction"] == "device->host")
    assert all(vector["source"] for vector in BY_DRIVER[driver])


@each_driver
def test_a_driver_has_a_line_in_the_docs(driver: str) -> None:
    assert f"`{driver}`" in (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")


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
        assert set(registry.records(row.driver)) <= set(registry.characteristics(row.driver, row.quirks))


@pytest.mark.parametrize("model", simulators.models())
def test_a_clinics_day_is_one_reading_of_each_kind_a_patient(model: str) -> None:
    """The simulator lies as the device does; the driver of its model loses nothing and doubles nothing."""
    simulated, driver = simulators.make(model), registry.driver(_usable(load_model(model)))
    acts = list(takewhile(lambda act: act.at_s < DAY_S, clinic(7, simulated)))
    while acts[-1].action not in ("detach", "step_off"):
        acts.pop()  # the last patient is let go
    patients = sum(act.action in ("attach", "step_on") for act in acts)
    now, events, step = 0.0, list[Event](), driver.tick(0.0)
    while now < DAY_S + 30.0:
        while acts and acts[0].at_s <= now:
            perform(acts.pop(0), simulated, Faults())
        said = simulated.receive(step.write) + simulated.advance(0.1)
        now += 0.1
        step = driver.feed(said, now) if said else driver.tick(now)
        events += step.events
    assert not [event for event in events if isinstance(event, Rejected)]
    told = Counter(measurement.kind for sample in samples(events) for measurement in sample.measurements)
    assert told
    assert set(told.values()) == {patients}, told


def _usable(model: DeviceModel) -> DeviceModel:
    """The model with the unit that its site would have pinned, where it does not send one."""
    return model if model.unit == "sent" else replace(model, quirks=replace(model.quirks, unit="kg"))


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
    events = codec.feed(noise + frame) + codec.flush()
    assert_says_what_the_vector_says(events, vector)
    assert raw_of(events) == noise + frame
    assert samples(events) == samples(fresh(driver).feed(frame))


@each_vector
def test_half_a_frame_after(driver: str, vector: Vector) -> None:
    frame, codec = bytes.fromhex(vector["bytes_hex"]), fresh(driver)
    for length in range(1, len(frame)):
        assert codec.feed(frame + frame[:length]) == fresh(driver).feed(frame)
        rest = codec.flush()
        assert all(isinstance(event, Rejected) for event in rest)
        assert raw_of(rest) == frame[:length]


@each_vector
def test_a_good_frame_is_read_after_a_broken_one(driver: str, vector: Vector) -> None:
    good = next(v for v in BY_DRIVER[driver] if v["direction"] == "device->host" and has_sample_of(v))
    frame, following = bytes.fromhex(vector["bytes_hex"]), bytes.fromhex(good["bytes_hex"])
    assert fresh(driver).feed(frame + following)[-1] == fresh(driver).feed(following)[-1]


@each_vector
def test_a_good_frame_is_read_after_half_of_one(driver: str, vector: Vector) -> None:
    frame = bytes.fromhex(vector["bytes_hex"])
    (last,) = fresh(driver).feed(frame)[-1:]
    for length in range(1, len(frame)):
        codec = fresh(driver)
        events = codec.feed(frame[:length] + frame) + codec.flush()
        assert raw_of(events) == frame[:length] + frame
        assert driver not in CHECKED or isinstance(last, Rejected) or last in events


@each_vector
def test_one_bit_flipped_gives_no_other_value(driver: str, vector: Vector) -> None:
    """Where the protocol has a check. Where it has none, grammar and equal frames must do; no byte goes unnoticed."""
    frame = bytes.fromhex(vector["bytes_hex"])
    meant = {s.measurements for s in samples(fresh(driver).feed(frame))}
    mendable = vector["expected"]["error"] == "checksum"  # wrong already: a sum may be right again with one bit more
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        codec = fresh(driver)
        events = codec.feed(bytes(flipped)) + codec.flush()
        assert raw_of(events) == flipped
        assert driver not in CHECKED or mendable or {s.measurements for s in samples(events)} <= meant


# The command line says the same, and what is sent is what the manual names.


@each_vector
def test_decode_says_what_the_vector_says(driver: str, vector: Vector) -> None:
    frame = bytes.fromhex(vector["bytes_hex"])
    events, codec = decoded(frame, model=None, driver=driver), fresh(driver)
    assert events == codec.feed(frame) + codec.flush()
    assert has_sample(events) == has_sample_of(vector)
    for event in events:
        said = json.loads(event_line(event))
        if isinstance(event, Sample):
            shown = {m["kind"]: (Decimal(m["value"]), m["unit"]) for m in said["measurements"]}
            assert shown == {m.kind: (m.value, m.unit) for m in event.measurements}
            if driver not in WORKED_OUT:
                assert all(m["value"] in frame.decode("latin-1") for m in said["measurements"]), "the device's digits"
            assert (said["flags"], said["device_user"]) == (list(event.flags), event.device_user)


@each_driver
def test_the_command_decodes_what_the_codec_decodes(driver: str, tmp_path: Path) -> None:
    heard = [v for v in BY_DRIVER[driver] if v["direction"] == "device->host"]
    for ok, status in ((True, 0), (False, 3)):
        captured = b"".join(bytes.fromhex(v["bytes_hex"]) for v in heard if has_sample_of(v) is ok)
        if not captured:
            continue  # its sources have no frame of this kind
        file = tmp_path / "captured"
        file.write_bytes(captured)
        for source in (("--hex", captured.hex()), ("--file", str(file))):
            ran = subprocess.run(
                [COMMAND, "decode", "--driver", driver, *source], capture_output=True, text=True, timeout=30
            )
            codec = fresh(driver)
            events = codec.feed(captured) + codec.flush()
            assert ran.stdout.splitlines() == [event_line(event) for event in events]
            assert (ran.returncode, ran.stderr) == (status, "")


@pytest.mark.parametrize("model", model_names())
def test_only_requests_of_the_vectors_that_read_are_sent(model: str) -> None:
    row = load_model(model)
    if row.link != "serial":
        return
    asked = {
        bytes.fromhex(v["bytes_hex"]): v["expected"]["meta"]["command"]
        for v in BY_DRIVER[row.driver]
        if v["direction"] == "host->device"
    }
    driver, now = registry.driver(row), 0.0
    step = driver.tick(now)
    written = {step.write}
    for _ in range(40):
        if step.deadline is None:
            break
        now = step.deadline
        step = driver.tick(now)
        written.add(step.write)
    assert written - {b""} <= set(asked)
    for request in written - {b""}:
        assert not asked[request].startswith(("start", "stop", "cancel", "set", "erase")), asked[request]
    assert bool(written - {b""}) == (row.driver in POLLED)
