"""What an Omron cuff is asked for its memory, and what it answers: frames over characteristics of Omron's own. Pure.

    request: length | kind 16 | address 16 | count | [bytes] 00 | check     check: the XOR over the whole frame is 0
    reply:   the same, its kind with 80 added; before the check stands a result, 0 for "done"
    0000 begin (count 10) -> 8000 · 0100 read -> 8100 with count bytes · 0F00 end -> 8F00, also for "not possible"

1. A frame is as long as its first byte says: what comes beyond it is filling, what is shorter is refused.
2. Where a frame is spread over four characteristics, each carries 16 bytes of it.
3. There is no request here that writes (01C0): a cuff's settings stand in the memory that its records are in, and, it
   is feared, the calibration of its sensor.

Sources: userx14/omblepy omblepy.py, README.md, #57; eigger/hass-omron tests/test_rx_notification_handling.py, #11.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import xor

from drivers.contract import Rejected

RECEIVE = (
    "49123040-aee8-11e1-a74d-0002a5d5c51b",
    "4d0bf320-aee8-11e1-a0d9-0002a5d5c51b",
    "5128ce60-aee8-11e1-b84b-0002a5d5c51b",
    "560f1420-aee8-11e1-8184-0002a5d5c51b",
)
TRANSMIT = "db5b55e0-aee7-11e1-965e-0002a5d5c51b"  # the first of four; no request here is longer than it carries
UNLOCK = "b305b680-aee7-11e1-a730-0002a5d5c51b"
CHANNEL_BYTES = 16

_OVERHEAD = 8  # of a frame beside its bytes
_DONE = 0
_READ = 0x0100
_ANSWERS = 0x8000
NOT_POSSIBLE = 0x8F00


@dataclass(frozen=True, slots=True)
class Request:
    """A question, and the kind and the address of the reply that answers it; None for one that names no address."""

    frame: bytes
    kind: int
    address: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame of the cuff whose check holds. `result`: 0 is "done"."""

    kind: int
    address: int
    result: int
    data: bytes = field(repr=False)

    @property
    def done(self) -> bool:
        """Whether it did what it was asked for."""
        return self.result == _DONE


def read(address: int, count: int) -> Request:
    """Ask for `count` bytes from `address`. Raises OverflowError for what no frame can say."""
    return Request(_frame(_READ, address, count), _READ | _ANSWERS, address)


def _frame(kind: int, address: int, count: int) -> bytes:
    body = bytes([_OVERHEAD]) + kind.to_bytes(2, "big") + address.to_bytes(2, "big") + bytes([count, 0])
    return body + bytes([check(body)])


def check(body: bytes) -> int:
    """Answer the byte that brings the XOR over all to 0."""
    return reduce(xor, body, 0)


BEGIN = Request(_frame(0x0000, 0, 0x10), 0x8000)
END = Request(_frame(0x0F00, 0, 0), 0x8F00)


def parts(first: bytes) -> int:
    """Answer over how many characteristics the frame is spread of which this is what the first one said."""
    return max(1, -(-first[0] // CHANNEL_BYTES)) if first else 1


def decode(heard: bytes) -> Reply | Rejected:
    """Answer the reply, `heard` being what all its characteristics said, in order."""
    length = heard[0] if heard else 0
    frame = heard[:length]
    if length < _OVERHEAD or len(heard) < length:
        return Rejected("length", heard)
    if check(frame):
        return Rejected("checksum", heard)
    kind, count = int.from_bytes(frame[1:3], "big"), frame[5]
    if kind == _READ | _ANSWERS and length != _OVERHEAD + count:
        return Rejected("length", heard)
    return Reply(kind, int.from_bytes(frame[3:5], "big"), frame[-2], frame[6:-2])
