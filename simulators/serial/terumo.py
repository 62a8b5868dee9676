"""Terumo BP-500 and BR-500: says its result once, when the measurement is over.

Source: the two records that were published, tests/vectors/terumo.jsonl. STX, twelve fields with commas between them,
ETX and a check: the sum of all bytes from STX to ETX. What it says of a failed measurement is not known: nothing here.

It lies as the monitor may: the check is any byte, ETX and STX too; the clock is years behind with `clock=`; the last
fields, which nobody explains, are not always zeros (`rest=`).
"""

from __future__ import annotations

from simulators.serial.cuff import Cuff, Measured

_STX, _ETX = 0x02, 0x03
_ID_PLACES = 9
_REST = "0000,0000,00000,000"


def record(fields: str) -> bytes:
    """One record with these fields, commas between them."""
    said = bytes([_STX]) + fields.encode("ascii") + bytes([_ETX])
    return said + bytes([sum(said) % 256])


def terumo(seed: int = 0) -> Cuff:  # noqa: ARG001 - nothing here is by chance
    """One monitor. `set` takes id (nine places) and rest."""
    return Cuff(_say, {"id": "SIM-00001", "rest": _REST})


def _say(measured: Measured) -> bytes:
    vitals, ident, rest = measured.vitals, measured.settings["id"], measured.settings["rest"]
    if not ident.isascii() or not ident.isprintable() or "," in ident or len(ident) > _ID_PLACES:
        raise ValueError(f"an ID has at most {_ID_PLACES} places and no comma")
    if [len(field) for field in rest.split(",") if field.isdecimal()] != [4, 4, 5, 3]:
        raise ValueError(f"rest is four numbers, as in {_REST}")
    if measured.failed:
        return b""
    kinds = ("systolic", "mean_arterial_pressure", "diastolic", "pulse_rate")
    numbers = ",".join(f"{vitals[kind]:03.0f}" for kind in kinds)
    return record(f"R1,{ident.rjust(_ID_PLACES, '0')},{measured.at:%y%m%d,%H%M%S},{numbers},{rest}")
