"""Values of Bluetooth characteristics and advertisements that no device sends, and the laws that hold for each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import chain

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from fuzz.streams import Frames, is_sane

Codec = Callable[[bytes], Event]
LONGEST = 512  # ATT: Core Specification, vol. 3, part F, 3.2.9
DETAIL_LIMIT = 1000


def codecs_of(driver: str) -> Mapping[str, Codec]:
    """Answer all codecs of one Bluetooth driver: of characteristics by UUID, of service data as `advertised UUID`."""
    heard = registry.advertisements(driver, Quirks())
    return {
        **registry.characteristics(driver, Quirks()),
        **{f"advertised {service}": codec for service, codec in heard.items()},
    }


def value(chance: random.Random, frames: Frames) -> bytes:
    """Answer a value: a frame with something wrong, cut or lengthened, or noise."""
    frame = bytearray(chance.choice(frames))
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.choice((0, 1, 2, 3, 7, 10, 13, 19, 20, LONGEST)))
        case 1:
            return bytes(frame[: chance.randrange(len(frame) + 1)])
        case 2:
            return bytes(frame + chance.randbytes(chance.randint(1, 12)))
        case 3:
            for _ in range(chance.randint(1, 3)):
                frame[chance.randrange(len(frame))] = chance.choice(
                    (0x00, 0x07, 0x08, 0x80, 0xFF, chance.randrange(256))
                )
            return bytes(frame)
        case 4:
            frame[0] = chance.randrange(256)  # most begin with flags
            return bytes(frame) + chance.randbytes(chance.choice((0, 0, 1, 2, 4, 7)))
        case _:
            at = chance.randrange(len(frame))
            frame[at] ^= 1 << chance.randrange(8)
            return bytes(frame)


def broken_law(codec: Codec, data: bytes) -> str | None:
    """Answer which law the codec breaks on this value, None for none. What it raises is passed on."""
    event = codec(data)
    if not isinstance(event, Sample | Notice | Rejected) or event.raw != data:
        return "the value's bytes are not those of its event"
    if codec(data) != event:
        return "the same value is another event the second time"
    if not is_sane(event):
        return "a sample has no measurement, or one that is no number"
    if isinstance(event, Sample) and event.device_time is not None and event.device_time.tzinfo is not None:
        return "a device's clock has a zone"
    told = chain([event.code, event.detail] if isinstance(event, Notice) else [])
    if any(len(words) > DETAIL_LIMIT or not words.isprintable() for words in told):
        return "a notice says what cannot be printed, or without end"
    return None
