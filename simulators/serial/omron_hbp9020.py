"""Omron HBP-9020 in mode 5, F3: says its result once, when the measurement is over.

Source: the published line in tests/vectors/omron_hbp9020.jsonl: nine fields with commas between them, CR LF. What it
says of a failed measurement is not known: nothing here.

It lies as the monitor does: an ID that nobody keyed in is twenty nines (`id=none`), the last digit is 3 beside good
numbers (`last=`), and by another public driver a line may end in CR alone (`end=cr`).
"""

from __future__ import annotations

from datetime import datetime

from simulators.serial.cuff import SIMULATED_ID, Cuff, Measured

_ID_PLACES = 20
_NO_ID = "9" * _ID_PLACES
_ENDS = {"crlf": b"\r\n", "cr": b"\r"}


def line(at: datetime, ident: str, numbers: tuple[float, ...], last: str, end: bytes = b"\r\n") -> bytes:
    """One line; `numbers` are systolic, mean, diastolic and pulse."""
    fields = ["bp", ident.ljust(_ID_PLACES), f"{at:%Y/%m/%d}", f"{at:%H:%M}"]
    return ",".join([*fields, *(f"{number:03.0f}" for number in numbers), last]).encode("ascii") + end


def omron_hbp9020(seed: int = 0) -> Cuff:  # noqa: ARG001 - nothing here is by chance
    """One monitor. `set` takes id (twenty places, or none), last (a digit) and end (crlf, cr)."""
    return Cuff(_say, {"id": SIMULATED_ID, "last": "0", "end": "crlf"})


def _say(measured: Measured) -> bytes:
    vitals, settings = measured.vitals, measured.settings
    ident, last, end = settings["id"], settings["last"], settings["end"]
    if not ident.isascii() or not ident.isprintable() or "," in ident or len(ident) > _ID_PLACES:
        raise ValueError(f"an ID has at most {_ID_PLACES} places and no comma")
    if not (last.isdecimal() and len(last) == 1) or end not in _ENDS:
        raise ValueError("last is a digit, end is crlf or cr")
    if measured.failed:
        return b""
    kinds = ("systolic", "mean_arterial_pressure", "diastolic", "pulse_rate")
    numbers = tuple(vitals[kind] for kind in kinds)
    return line(measured.at, _NO_ID if ident == "none" else ident, numbers, last, _ENDS[end])
