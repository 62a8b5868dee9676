"""Omron HBP-9030 in USB output format 5: says its result once, when the measurement is over.

Source: leon80148/BP_checker, its specification of the line (Omron 2873643-0F p. 20): eleven fields with commas between
them, fifty-three bytes, CR LF. After an error the numbers are blanks.

It lies as the monitor does: an ID that nobody keyed in is twenty blanks (`id=none`), movements are counted beside good
numbers (`movements=`), and the clock is years behind with `clock=`.
"""

from __future__ import annotations

from datetime import datetime

from simulators.serial.cuff import SIMULATED_ID, Cuff, Measured

_ID_PLACES = 20
_ARM_TAKEN_OUT = 7  # which number says so is not known


def line(at: datetime, ident: str, error: int, numbers: tuple[float, float, float], movements: int) -> bytes:
    """One line; `numbers` are systolic, diastolic and pulse."""
    said = ["   "] * 3 if error else [f"{number:03.0f}" for number in numbers]
    fields = [f"{at:%Y,%m,%d,%H,%M}", ident.ljust(_ID_PLACES), str(error), *said, str(movements)]
    return ",".join(fields).encode("ascii") + b"\r\n"


def omron_hbp9030(seed: int = 0) -> Cuff:  # noqa: ARG001 - nothing here is by chance
    """One monitor. `set` takes id (twenty places, or none) and movements (0 to 9)."""
    return Cuff(_say, {"id": SIMULATED_ID, "movements": "0"}, kinds=("systolic", "diastolic", "pulse_rate"))


def _say(measured: Measured) -> bytes:
    vitals, ident, movements = measured.vitals, measured.settings["id"], measured.settings["movements"]
    if not ident.isascii() or not ident.isprintable() or "," in ident or len(ident) > _ID_PLACES:
        raise ValueError(f"an ID has at most {_ID_PLACES} places and no comma")
    if not (movements.isdecimal() and len(movements) == 1):
        raise ValueError("movements are 0 to 9")
    numbers = (vitals["systolic"], vitals["diastolic"], vitals["pulse_rate"])
    error = _ARM_TAKEN_OUT if measured.failed else 0
    return line(measured.at, "" if ident == "none" else ident, error, numbers, int(movements))
