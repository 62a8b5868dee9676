"""Ten thousand streams a driver that no device sends, the same each time; `python -m fuzz` runs as long as you like."""

from __future__ import annotations

import random
from functools import partial

import pytest

from drivers import registry
from drivers.contract import Codec, Event, Notice, Rejected
from drivers.models import Quirks
from fuzz.__main__ import frames_of
from fuzz.streams import broken_law, stream

STREAMS = 10_000


@pytest.mark.parametrize("driver", registry.serial_names())
def test_no_stream_breaks_a_law(driver: str) -> None:
    frames, make = frames_of(driver), partial(registry.codec, driver, Quirks())
    chance = random.Random(driver)
    for _ in range(STREAMS):
        data = stream(chance, frames)
        broken = broken_law(make, data, chance)
        assert broken is None, f"{broken}: {data.hex()}"


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
