"""What no device sends, thousands a driver, the same each time; `python -m fuzz` runs as long as you like."""

from __future__ import annotations

import random
from itertools import count

import pytest

from drivers import registry
from drivers.contract import Codec, Event, Notice, Rejected, Sample
from fuzz import values
from fuzz.__main__ import broken_by
from fuzz.streams import broken_law, stream

STREAMS = 5_000


@pytest.mark.parametrize("driver", registry.names())
def test_nothing_breaks_a_law(driver: str) -> None:
    try_once, chance = broken_by(driver), random.Random(driver)
    for _ in range(STREAMS if driver not in registry.ble_names() else STREAMS // 4):  # each value meets all its codecs
        broken, data = try_once(chance)
        assert broken is None, f"{broken}: {data.hex()}"


def test_a_codec_of_values_that_breaks_a_law_is_found() -> None:
    assert values.broken_law(lambda _: Rejected("length", b""), b"\x01") is not None
    assert values.broken_law(lambda value: Sample((), raw=value), b"\x01") is not None
    assert values.broken_law(lambda value: Notice("code", "\x07", value), b"\x01") is not None
    counted = count()
    assert values.broken_law(lambda value: Notice(str(next(counted)), raw=value), b"") is not None


class Forgetful:
    """A codec that loses what it is fed in pieces of one byte."""

    limit = 100_000

    def feed(self, data: bytes) -> list[Event]:
        return [Rejected("noise", data)] if len(data) != 1 else []

    def flush(self) -> list[Event]:
        return []


class Empty:
    """A codec that tells of nothing."""

    limit = 100_000

    def feed(self, data: bytes) -> list[Event]:
        return [Rejected("noise", data), Notice("nothing")]

    def flush(self) -> list[Event]:
        return []


@pytest.mark.parametrize(("make", "law"), [(Forgetful, "cut"), (Empty, "no bytes")])
def test_a_codec_that_breaks_a_law_is_found(make: type[Codec], law: str) -> None:
    chance = random.Random(1)
    told = {broken_law(make, stream(chance, [b"ST,+00082.35 kg\r\n"]), chance) for _ in range(100)}
    assert any(words is not None and law in words for words in told)
