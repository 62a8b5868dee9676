"""The schemas that charts are given: every payload of ours keeps to them, and they forbid no consumer's future."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, ValidationError

from drivers import registry
from drivers.contract import ClockReading, Identity, Sample
from gateway import payload, states
from gateway.catalogue import load_model, load_ranges, model_names
from gateway.clock import Clock
from gateway.fence import Evidence
from gateway.inspect import decoded
from gateway.intake import Intake
from gateway.payload import Origin
from gateway.reading import ClockQuality, Disposition, Mode, Modifier, Reading, Status
from gateway.requests import RANGE_LIMIT, Refused, parse
from gateway.selection import Selection
from gateway.settings import Device
from gateway.vocabulary import KINDS

TESTS = Path(__file__).parent
SCHEMAS: dict[str, Any] = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in (TESTS.parent / "docs" / "schemas").glob("*.json")
}
READING = SCHEMAS["vitals.reading-1"]
ORIGIN = Origin("northside", "exam-3", "0.1.0", UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7"), publish_raw=True)
ARRIVED = 102.0  # monotonic
RANGES = load_ranges()
MODELS = {name: load_model(name) for name in model_names(None)}
MustFit = Callable[[bytes], Any]


def clock(*, synced: bool = True) -> Clock:
    made = Clock([lambda: synced], monotonic=lambda: ARRIVED, wall=lambda: 1_795_352_710.0)
    made.refresh()
    return made


def samples(name: str) -> Iterator[Sample]:
    """What the vectors of its driver are, read as this model; requests are passed over."""
    model = MODELS[name]
    known = registry.characteristics(model.driver, model.quirks) if model.driver in registry.ble_names() else {}
    for file in sorted((TESTS / "vectors").rglob(f"{model.driver}.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            vector = json.loads(line)
            characteristic = vector.get("characteristic", "")[2:6].upper() if known else None
            if vector.get("direction") != "host->device" and (not known or characteristic in known):
                data = bytes.fromhex(vector["hex"] if "hex" in vector else vector["bytes_hex"])
                events = decoded(data, model=name, driver=None, characteristic=characteristic)
                yield from (event for event in events if isinstance(event, Sample))


def readings(name: str) -> Iterator[Reading]:
    """Every sample, as it goes out of each way in: by a clock that is right and one that is not."""
    model = MODELS[name]
    shown = clock().utc_at(ARRIVED).replace(tzinfo=None) + timedelta(seconds=3)
    for synced in (True, False):
        device = Device("it", name, model, model.line, address="C8:1E:8E:00:00:01" if model.link == "ble" else None)
        intake = Intake(device, ORIGIN, RANGES, clock(synced=synced))
        for sample in samples(name):
            if model.link == "serial":
                yield intake.reading(sample, Mode.REAL)
            else:
                yield intake.heard(sample, Mode.TEST, ARRIVED, is_live=synced).reading
                for evidence in (Evidence(ClockReading(shown, ARRIVED, 0.5)), Evidence()):
                    yield intake.record(sample, Mode.REAL, evidence, Identity(), ARRIVED).reading


# One model of each driver and each way in which it departs from it.
ODD_ONES = {(model.driver, model.quirks, model.memory, model.unit): name for name, model in MODELS.items()}


@pytest.mark.parametrize("driver", registry.names())
def test_every_reading_of_every_vector_fits(driver: str, must_fit: MustFit) -> None:
    fitting = [
        must_fit(payload.encode(reading, ORIGIN, 1))
        for name in ODD_ONES.values()
        if MODELS[name].driver == driver
        for reading in readings(name)
    ]
    assert fitting or driver in {"taidoc_ble", "xiaomi_scale"}  # of several frames, and of advertisements


def test_each_member_is_named_and_each_known_word_is_the_codes() -> None:
    def known(*path: str) -> list[Any]:
        part = READING
        for step in path:
            part = part[step]
        found: list[Any] = part["x-known"]
        return found

    assert known("properties", "mode") == list(Mode)
    assert known("properties", "disposition") == list(Disposition)
    assert known("properties", "time", "properties", "quality") == list(ClockQuality)
    assert known("definitions", "status") == list(Status)
    assert known("definitions", "vital", "properties", "kind") == list(KINDS)
    assert set(known("definitions", "vital", "properties", "unit")) == {kind.unit for kind in KINDS.values()}


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_one_and_says_whose_it_is(name: str) -> None:
    schema = SCHEMAS[name]
    Draft7Validator.check_schema(schema)
    if name != "vitals.replay-request-1":
        assert schema["properties"]["schema"]["const"].replace("/", "-") == name
    assert re.findall(r'"\$ref": "(?!#/definitions/)', json.dumps(schema)) == []
    assert set(re.findall(r'"#/definitions/(\w+)"', json.dumps(schema))) == schema.get("definitions", {}).keys()


# ---- what a consumer must be able to take, and what it may refuse ----------------------------------------------------

HELD = replace(next(readings("health-o-meter-500kl")), modifiers={"site": Modifier("oral", "staff")})
EXAMPLE: dict[str, Any] = json.loads(payload.encode(HELD, ORIGIN, 7))


def objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from objects(below)


def test_a_member_that_is_new_is_no_mistake() -> None:
    grown = copy.deepcopy(EXAMPLE)
    for part in [part for part in objects(grown) if part is not grown["modifiers"]]:
        part["grown"] = {"new": [1]}
    grown["modifiers"]["cuff"] = {"value": "large adult", "source": "staff", "grown": 1}
    Draft7Validator(READING).validate(grown)


def test_a_word_that_is_new_is_no_mistake() -> None:
    grown = copy.deepcopy(EXAMPLE)
    for member in ("disposition", "mode", "state", "status"):
        grown[member] = "a_new_word"
    grown["time"]["quality"] = grown["time"]["source"] = "a_new_word"
    grown["vitals"][0].update(kind="a_new_kind", unit="mol/L", status="a_new_word")
    grown["session"] = {"id": "…"}
    Draft7Validator(READING).validate(grown)


def test_our_own_payloads_are_held_to_what_is_known(must_fit: MustFit) -> None:
    for member, value in (("mode", "a_new_word"), ("grown", 1)):
        with pytest.raises(ValidationError):
            must_fit(json.dumps({**EXAMPLE, member: value}).encode())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", "0F0C0B52-2F0E-5F2C-9D5C-6B0F2F3A9F11"),
        ("id", None),
        ("revision", 0),
        ("sequence", "7"),
        ("site", "north side"),
        ("taken_at", "2026-11-22T13:05:09Z"),
        ("taken_at", "2026-11-22T13:05:09.000-06:00"),
        ("received_at", None),
        ("time.device_time", "2026-11-22T07:05:09Z"),
        ("vitals.0.value", "83.7"),
        ("vitals.0.value", None),  # and `absent` says nothing
        ("vitals.0.measured.value", 83.7),
        ("vitals.0.measured.value", "1E+2"),
        ("raw", "1B"),
        ("schema", "vitals.reading/2"),
    ],
)
def test_what_the_contract_fixes_is_fixed(path: str, value: object) -> None:
    wrong = copy.deepcopy(EXAMPLE)
    *above, last = path.split(".")
    at: Any = wrong
    for step in above:
        at = at[int(step)] if isinstance(at, list) else at[step]
    assert last in at
    at[last] = value
    assert not Draft7Validator(READING).is_valid(wrong)


@pytest.mark.parametrize("member", sorted(READING["required"]))
def test_every_member_is_there(member: str) -> None:
    assert not Draft7Validator(READING).is_valid({key: value for key, value in EXAMPLE.items() if key != member})
    assert member in READING["properties"]


# ---- asking for what is missing --------------------------------------------------------------------------------------

MANY = tuple((number, number) for number in range(1, 200, 2))
SELECTION = Selection(sequences=(412, 413), waiting=((420, 421),), gone=((400, 411),), never=(425, 430))


@pytest.mark.parametrize(
    "said",
    [
        {"state": "accepted", "request": (400, 430, "gap-17"), "selection": SELECTION},
        {"state": "accepted", "request": (1, 200, None), "selection": replace(SELECTION, gone=MANY, never=None)},
        {"state": "done", "request": (400, 430, "gap-17"), "said": {"success": 1, "no_matching_subscribers": 1}},
        {"state": "refused", "reason": "malformed"},
        {"state": "refused", "reason": "too_many_requests"},
    ],
)
def test_answers_to_a_request_fit(said: dict[str, Any], must_fit: MustFit) -> None:
    must_fit(states.replay(ORIGIN, at=clock().utc_at(ARRIVED), **said))
    must_fit(states.replay(replace(ORIGIN, stream=None), at=clock().utc_at(ARRIVED), **said))


NUMBERS = st.sampled_from([-1, 0, 1, 2, 412, 2**63 - 1, 2**63, "1", None, 1.5, True])
WORDS = st.none() | st.text(max_size=3) | st.sampled_from(["gap-17", "a" * 64, "a" * 65, 17])


@given(st.sampled_from([str(ORIGIN.stream), "7c9e6679", None]), NUMBERS, NUMBERS, WORDS, st.booleans())
def test_a_request_that_is_taken_fits_and_one_that_fits_is_taken(
    stream: object, first: Any, last: Any, word: Any, more: bool
) -> None:
    request = {"stream": stream, "from": first, "to": last, "request": word} | ({"more": 1} if more else {})
    fits = Draft7Validator(SCHEMAS["vitals.replay-request-1"]).is_valid(request)
    try:
        parse(json.dumps(request).encode())
    except Refused:
        # What a schema cannot say of two numbers, nor of a character.
        assert not fits or first > last or last - first >= RANGE_LIMIT or not word.isprintable()
    else:
        assert fits
