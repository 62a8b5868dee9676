"""What goes wrong between a device and its port, by script and from a seed.

1. `Faults` is pure: bytes and seconds in, actions out. The same calls and seed give the same actions.
2. What a device sends at one time is a frame here: the faults know no protocol.
3. Order is kept: what was held back goes out before what came later.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SPLIT_PAUSE_S = 0.15  # far longer than a byte lasts on the slowest line
MERGE_WAIT_S = 2.0  # how long a frame waits for another to be glued to
STALL_S = 3.0
BACK_AFTER_S = 2.0  # how long a device is unplugged by a standing fault, which nobody ends by a script
_STANDING_CHANCE = 0.2  # share of frames that a standing fault meets
_NOISE_LONGEST = 16
_NUMBER = re.compile(rb"\d+\.\d+")


class Fault(StrEnum):
    """Each by the name that a story and `--fault` use."""

    DROP = "drop"  # a frame is lost
    SPLIT = "split"  # a frame comes in two pieces with a pause
    MERGE = "merge"  # a frame comes together with the next
    GARBLE = "garble"  # one bit of a frame is wrong
    STALL = "stall"  # silence for STALL_S; what is said in it is lost
    UNPLUG = "unplug"  # the port is gone
    REPLUG = "replug"  # the port is there again
    OUT_OF_RANGE = "out_of_range"  # all digits of the frame's first decimal number are nines
    NOISE = "noise"  # bytes that nobody sent, before the next frame


@dataclass(frozen=True, slots=True)
class Write:
    """Put these bytes on the wire."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Unplug:
    """Take the port away."""


@dataclass(frozen=True, slots=True)
class Replug:
    """Bring the port back."""


Action = Write | Unplug | Replug


def fault_named(name: str) -> Fault:
    """Answer the fault of this name; ValueError lists them."""
    try:
        return Fault(name)
    except ValueError:
        raise ValueError(f"unknown fault {name!r} ({', '.join(Fault)})") from None


class Faults:
    """Faults met once (`inject`) and, where `standing` names any, again and again."""

    def __init__(self, seed: int = 0, standing: Iterable[Fault] = ()) -> None:
        self._random = random.Random(seed)
        self._standing = tuple(standing)
        self._next: list[Fault] = []  # for the next frame
        self._plug: list[Action] = []
        self._held = b""
        self._held_for_s = 0.0
        self._merging = False
        self._stalled_for_s = 0.0
        self._unplugged = False
        self._back_in_s: float | None = None

    def inject(self, fault: Fault) -> None:
        """Let `fault` happen: stall, unplug and replug now, the others to the next frame."""
        match fault:
            case Fault.STALL:
                self._stalled_for_s = STALL_S
            case Fault.UNPLUG:
                self._unplug(back_in_s=None)
            case Fault.REPLUG:
                self._replug()
            case _:
                self._next.append(fault)

    def apply(self, data: bytes, dt_s: float) -> list[Action]:
        """Answer what happens at the port in the `dt_s` seconds at whose end the device said `data`."""
        heard = self._wait(dt_s)
        if data:
            if self._standing and self._random.random() < _STANDING_CHANCE:
                self._stand(self._random.choice(self._standing))
            if self._stalled_for_s > 0:
                data = b""
        actions, self._plug = self._plug, []
        out = heard + (self._frame(data) if data else b"")
        if out and not self._unplugged:
            actions.append(Write(out))
        return actions

    def _wait(self, dt_s: float) -> bytes:
        self._stalled_for_s = max(0.0, self._stalled_for_s - dt_s)
        if self._back_in_s is not None:
            self._back_in_s -= dt_s
            if self._back_in_s <= 0:
                self._replug()
        if self._held:
            self._held_for_s -= dt_s
            if self._held_for_s <= 0:
                return self._release()
        return b""

    def _stand(self, fault: Fault) -> None:
        if fault is not Fault.UNPLUG:
            self.inject(fault)
        elif not self._unplugged:
            self._unplug(back_in_s=BACK_AFTER_S)

    def _unplug(self, back_in_s: float | None) -> None:
        self._plug.append(Unplug())
        self._unplugged, self._back_in_s = True, back_in_s
        self._held = b""

    def _replug(self) -> None:
        if self._unplugged:
            self._plug.append(Replug())
            self._unplugged = False
        self._back_in_s = None

    def _release(self) -> bytes:
        held, self._held, self._merging = self._held, b"", False
        return held

    def _frame(self, data: bytes) -> bytes:
        faults, self._next = self._next, []
        for fault in faults:
            match fault:
                case Fault.DROP:
                    data = b""
                case Fault.GARBLE if data:
                    place = self._random.randrange(len(data))
                    data = data[:place] + bytes([data[place] ^ 1 << self._random.randrange(8)]) + data[place + 1 :]
                case Fault.OUT_OF_RANGE:
                    data = _NUMBER.sub(lambda found: re.sub(rb"\d", b"9", found.group()), data, count=1)
                case Fault.NOISE:
                    data = self._random.randbytes(self._random.randint(1, _NOISE_LONGEST)) + data
                case _:
                    pass  # split and merge are about when, below
        if self._held and data:
            if self._merging:
                return self._release() + data
            self._held += data  # a pause is not over: what comes now waits behind the rest
            return b""
        if Fault.MERGE in faults and data:
            self._held, self._held_for_s, self._merging = data, MERGE_WAIT_S, True
            return b""
        if Fault.SPLIT in faults and len(data) > 1:
            cut = self._random.randrange(1, len(data))
            self._held, self._held_for_s, self._merging = data[cut:], SPLIT_PAUSE_S, False
            return data[:cut]
        return data
