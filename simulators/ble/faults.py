"""What a Bluetooth device does wrong, by script."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class BleFault(StrEnum):
    """Each by the name that `--fault` uses. Where another device would do it differently, its file says so."""

    VANISH = "vanish"  # advertises once and is gone
    HANG_UP = "hang_up"  # hangs up in mid-transfer, a record unconfirmed; that one and the rest stay in its memory
    REFUSE_PAIRING = "refuse_pairing"
    LOSE_BOND = "lose_bond"  # forgets its host, as after a change of batteries; the host has not forgotten it
    NAN_FLOOD = "nan_flood"  # thirty records of failed measurements come before the next one
    REPEAT_LAST = "repeat_last"  # the last record of the connection before is the first of this one
    CLOCK_2010 = "clock_2010"  # its clock starts again at 2010-01-01 00:00:00
    DEMONSTRATION = "demonstration"  # an oximeter in a shop window: good numbers of nobody, and a bit that says so
    NOT_PAIRED = "not_paired"  # an Omron cuff that does not know the key: it answers 820F
    WRONG_CHECK = "wrong_check"  # an answer whose check does not hold
    CLOCK_WRITE_ERROR = "clock_write_error"  # answers a write to its clock with ATT error 0x80
    RESERVED_BITS = "reserved_bits"  # sets flag bits that the specification keeps for later


def ble_fault_named(name: str) -> BleFault:
    """Answer the fault of this name; ValueError lists them."""
    try:
        return BleFault(name)
    except ValueError:
        raise ValueError(f"unknown fault {name!r} ({', '.join(BleFault)})") from None


class BleFaults:
    """Faults met once (`inject`) and those that stand, met every time."""

    def __init__(self, standing: Iterable[BleFault] = ()) -> None:
        self._standing = frozenset(standing)
        self._next: list[BleFault] = []

    def inject(self, fault: BleFault) -> None:
        """Let `fault` happen once, at the next occasion for it."""
        self._next.append(fault)

    def met(self, fault: BleFault) -> bool:
        """Whether `fault` happens on this occasion; a fault that was injected is then over."""
        if fault in self._standing:
            return True
        if fault in self._next:
            self._next.remove(fault)
            return True
        return False
