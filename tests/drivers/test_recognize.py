"""Bytes are recognized by their frames: each driver's own vectors, cut anyhow; what is nobody's is nobody's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Rejected
from drivers.models import Quirks
from drivers.recognize import SURE_FRAMES, Recognizer

VECTORS = Path(__file__).parents[1] / "vectors"

# Frames that two drivers read alike: Rice Lake's answer has the form of a Health o meter's packet, without its ID.
TIES = {
    "rl-esc-manual-example": {"health_o_meter", "rice_lake_esc"},
    "rl-esc-overload": {"health_o_meter", "rice_lake_esc"},
    "rl-esc-out-of-range-2": {"health_o_meter", "rice_lake_esc"},
}


def good_frames() -> list[tuple[str, str, bytes]]:
    """Driver, id and bytes of every vector that its own codec takes whole."""
    found = []
    for driver in registry.serial_names():
        for line in (VECTORS / f"{driver}.jsonl").read_text(encoding="utf-8").splitlines():
            vector = json.loads(line)
            data = bytes.fromhex(vector["bytes_hex"])
            if vector["direction"] == "device->host" and not any(
                isinstance(event, Rejected) for event in registry.codec(driver, Quirks()).feed(data)
            ):
                found.append((driver, vector["id"], data))
    return found


GOOD = good_frames()
each_good_frame = pytest.mark.parametrize(("driver", "name", "frame"), GOOD, ids=[name for _, name, _ in GOOD])
frames = st.sampled_from([frame for _, _, frame in GOOD])


def told(*pieces: bytes) -> set[str]:
    recognizer = Recognizer()
    for piece in pieces:
        recognizer.feed(piece)
    recognizer.flush()
    return {verdict.driver for verdict in recognizer.winners}


def test_each_driver_has_a_good_frame() -> None:
    assert {driver for driver, _, _ in GOOD} == set(registry.serial_names())


@each_good_frame
def test_a_frame_is_its_own_drivers(driver: str, name: str, frame: bytes) -> None:
    assert told(frame) == TIES.get(name, {driver})


@each_good_frame
def test_joined_in_its_middle_it_is_still_its_own_drivers(driver: str, name: str, frame: bytes) -> None:
    half = frame[len(frame) // 2 + 1 :]
    assert told(half, frame, frame) == TIES.get(name, {driver})


@each_good_frame
def test_three_frames_are_enough(driver: str, name: str, frame: bytes) -> None:
    recognizer = Recognizer()
    recognizer.feed(frame)
    whole = recognizer.winners[0].frames
    assert recognizer.is_sure == (whole >= SURE_FRAMES)
    recognizer.feed(frame * (SURE_FRAMES - 1))
    assert recognizer.is_sure


@given(st.lists(frames | st.binary(max_size=60), max_size=6), st.integers(1, 40))
def test_how_the_bytes_are_cut_changes_nothing(parts: list[bytes], size: int) -> None:
    stream = b"".join(parts)
    whole, cut = Recognizer(), Recognizer()
    whole.feed(stream)
    for start in range(0, len(stream), size):
        cut.feed(stream[start : start + size])
    whole.flush()
    cut.flush()
    assert whole.winners == cut.winners
    assert whole.seen == cut.seen == len(stream)


@given(st.binary(max_size=400))
def test_every_byte_is_explained_or_rejected(data: bytes) -> None:
    for driver in registry.serial_names():
        recognizer = Recognizer((driver,))
        recognizer.feed(data)
        recognizer.flush()
        assert all(verdict.explained + verdict.rejected == len(data) for verdict in recognizer.winners)
        assert all(verdict.rejected <= 2 * verdict.explained for verdict in recognizer.winners)


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 500, bytes(range(256)) * 4, b"login: \r\n" * 40])
def test_what_is_no_protocol_of_ours_is_none(garbage: bytes) -> None:
    assert told(garbage) == set()


def test_a_chance_frame_in_much_garbage_is_none() -> None:
    assert told(b"\x80\xf8" * 100 + b"ES\r\n") == set()


def test_a_frame_with_every_eighth_bit_set_is_none() -> None:
    """What a line with even parity looks like to one that reads eight bits."""
    frame = b"ST,+00082.35 kg\r\n"
    seen = bytes(byte | (byte.bit_count() % 2) << 7 for byte in frame)
    assert told(frame) == {"and_scale"}
    assert told(seen * 5) == set()


def test_a_driver_that_is_none_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Recognizer(("no_such_driver",))
