"""What holds for each codec of the registry and for any bytes at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Codec, Event, Sample
from drivers.framing import FramedCodec
from drivers.models import Quirks

VECTORS = Path(__file__).parents[1] / "vectors"


def frames_of(driver: str, *, good: bool = False) -> list[bytes]:
    rows = [json.loads(line) for line in (VECTORS / f"{driver}.jsonl").read_text(encoding="utf-8").splitlines()]
    heard = [row for row in rows if row["direction"] == "device->host"]
    return [bytes.fromhex(row["bytes_hex"]) for row in heard if row["expected"]["ok"] or not good]


FRAMES = {driver: frames_of(driver) for driver in registry.serial_names()}
GOOD = {driver: frames_of(driver, good=True) for driver in registry.serial_names()}
# What ends every frame of a protocol, found in its frames: not asked of the code.
TERMINATOR = {driver: bytes(frames[0][-2:]) for driver, frames in FRAMES.items()}

each_driver = pytest.mark.parametrize("driver", registry.serial_names())


def fresh(driver: str, quirks: Quirks | None = None) -> Codec:
    return registry.codec(driver, quirks or Quirks())


def limit_of(codec: Codec) -> int:
    """The bound that the codec states."""
    assert isinstance(codec, FramedCodec), "a codec of another kind says here how much it keeps"
    return codec.limit


def raw_of(events: Sequence[Event]) -> bytes:
    return b"".join(event.raw for event in events)


@st.composite
def fragments(draw: st.DrawFn, driver: str) -> bytes:
    """A frame, the half of one, one with a byte that is wrong, plain noise, or very much noise."""
    frame = draw(st.sampled_from(FRAMES[driver]))
    at = draw(st.integers(0, len(frame) - 1))
    wrong = frame[:at] + draw(st.binary(max_size=2)) + frame[at + 1 :]
    much = draw(st.binary(min_size=1, max_size=3)) * draw(st.integers(100, 700))
    return draw(st.sampled_from([frame, frame, frame[:at], frame[at:], wrong, much]) | st.binary(max_size=40))


def streams(driver: str) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=200) | st.lists(fragments(driver), max_size=8).map(b"".join)


def noises(driver: str) -> st.SearchStrategy[bytes]:
    return streams(driver).map(lambda noise: noise.replace(TERMINATOR[driver], b""))


@each_driver
def test_the_frames_end_as_these_tests_take_it(driver: str) -> None:
    assert all(frame.endswith(TERMINATOR[driver]) for frame in FRAMES[driver])


@each_driver
@given(data=st.data())
def test_nothing_disappears(driver: str, data: st.DataObject) -> None:
    stream, codec = data.draw(streams(driver)), fresh(driver)
    events = codec.feed(stream)
    assert raw_of(events + codec.flush()) == stream
    assert all(event.raw for event in events), "an event without bytes would count something that never came"
    assert codec.flush() == []


@each_driver
@given(data=st.data())
def test_how_the_bytes_are_cut_changes_nothing(driver: str, data: st.DataObject) -> None:
    stream = data.draw(streams(driver))
    whole = fresh(driver)
    events, rest = whole.feed(stream), whole.flush()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    bounds = list(zip([0, *cuts], [*cuts, len(stream)], strict=True))
    for pieces in ([stream[a:b] for a, b in bounds], [stream[i : i + 1] for i in range(len(stream))]):
        codec = fresh(driver)
        assert [event for piece in pieces for event in codec.feed(piece)] == events
        assert codec.flush() == rest


@each_driver
@given(data=st.data())
def test_a_good_frame_between_noise_is_found(driver: str, data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from(GOOD[driver]))
    before, after = data.draw(noises(driver)), data.draw(noises(driver))
    ends = (before + frame).find(TERMINATOR[driver]) + len(TERMINATOR[driver])
    assume(ends == len(before) + len(frame))  # noise and frame together may make a terminator
    (alone,) = [event for event in fresh(driver).feed(frame) if isinstance(event, Sample)]
    codec = fresh(driver)
    assert alone in codec.feed(before + frame + after)


@each_driver
@pytest.mark.parametrize("quirks", [Quirks(), Quirks(bmi_check=False, trust_height=False)], ids=["plain", "quirks"])
@given(data=st.data())
def test_nothing_is_invented(driver: str, quirks: Quirks, data: st.DataObject) -> None:
    for event in fresh(driver, quirks).feed(data.draw(streams(driver))):
        if isinstance(event, Sample):
            said = event.raw.decode("latin-1")
            for measurement in (*event.measurements, *event.modifiers.values()):
                assert format(measurement.value, "f") in said
                assert measurement.value.is_finite()
            assert event.measurements
            assert all(measurement.value > 0 for measurement in event.measurements)
            assert event.device_user is None or event.device_user in said
            assert event.device_time is None
            assert event.at is None


@each_driver
@given(data=st.data())
def test_what_is_kept_is_bounded(driver: str, data: st.DataObject) -> None:
    codec = fresh(driver)
    for piece in data.draw(st.lists(streams(driver), max_size=5)):
        codec.feed(piece)
    assert len(raw_of(codec.flush())) < limit_of(codec)


@each_driver
@pytest.mark.parametrize("byte", [b"\x00", b"\x1b", b"\r", b"\n", b"S", b"6", b"9", b" "])
def test_a_flood_without_an_end_is_given_up_in_pieces(driver: str, byte: bytes) -> None:
    codec = fresh(driver)
    flood = byte * 100_000
    events = codec.feed(flood)
    rest = raw_of(codec.flush())
    assert raw_of(events) + rest == flood
    assert len(rest) < limit_of(codec)
    assert not [event for event in events if isinstance(event, Sample)]
    assert max(len(event.raw) for event in events) <= limit_of(codec)


@each_driver
@given(data=st.data())
def test_a_flushed_codec_is_as_a_fresh_one(driver: str, data: st.DataObject) -> None:
    used = fresh(driver)
    used.feed(data.draw(streams(driver)))
    used.flush()
    stream = data.draw(streams(driver))
    assert used.feed(stream) == fresh(driver).feed(stream)
