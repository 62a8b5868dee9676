"""What holds for each codec of the registry and for any bytes at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Codec, Event, Rejected, Sample
from drivers.models import Quirks

VECTORS = Path(__file__).parents[1] / "vectors"


def fed(driver: str, stream: bytes) -> list[Event]:
    codec = registry.codec(driver, Quirks())
    return codec.feed(stream) + codec.flush()


def frames_of(driver: str, *, good: bool = False) -> list[bytes]:
    rows = [json.loads(line) for line in (VECTORS / f"{driver}.jsonl").read_text(encoding="utf-8").splitlines()]
    heard = [row for row in rows if row["direction"] == "device->host"]
    return [bytes.fromhex(row["bytes_hex"]) for row in heard if row["expected"]["ok"] or not good]


FRAMES = {driver: frames_of(driver) for driver in registry.serial_names()}
GOOD = {
    driver: [frame for frame in frames_of(driver, good=True) if any(isinstance(e, Sample) for e in fed(driver, frame))]
    for driver in registry.serial_names()
}

# Drivers whose numbers do not stand in the frame as decimal text: see test_every_driver.py.
WORKED_OUT = {
    *("and_ua767", "detecto_csv", "dinamap", "nonin_df2", "rice_lake_print", "suntech", "suretemp", "taidoc"),
    *("tanita", "toledo_continuous"),
}

each_driver = pytest.mark.parametrize("driver", registry.serial_names())


def fresh(driver: str, quirks: Quirks | None = None) -> Codec:
    return registry.codec(driver, quirks or Quirks())


def limit_of(codec: Codec) -> int:
    """The bound that the codec states."""
    limit = getattr(codec, "limit", None)
    assert isinstance(limit, int), "a codec says how much it keeps"
    return limit


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
    before, after = data.draw(streams(driver)), data.draw(streams(driver))
    (alone,) = [event for event in fresh(driver).feed(frame) if isinstance(event, Sample)]
    events = fed(driver, before + frame + after)
    ends = 0
    for event in events:
        begins, ends = ends, ends + len(event.raw)
        # noise may, by chance, be a frame with the first bytes of this one: with the right check it cannot be told
        assume(isinstance(event, Rejected) or not begins < len(before) < ends)
    assert alone in events


@each_driver
@pytest.mark.parametrize("quirks", [Quirks(), Quirks(bmi_check=False, trust_height=False)], ids=["plain", "quirks"])
@given(data=st.data())
def test_nothing_is_invented(driver: str, quirks: Quirks, data: st.DataObject) -> None:
    for event in fresh(driver, quirks).feed(data.draw(streams(driver))):
        if isinstance(event, Sample):
            said = event.raw.decode("latin-1")
            for measurement in (*event.measurements, *event.modifiers.values()):
                assert driver in WORKED_OUT or format(measurement.value, "f") in said
                assert measurement.value.is_finite()
            assert event.measurements
            assert all(measurement.value > 0 for measurement in event.measurements)
            assert event.device_user is None or event.device_user in said
            assert event.device_time is None or event.device_time.tzinfo is None
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
