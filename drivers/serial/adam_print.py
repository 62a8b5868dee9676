"""Adam MUW-300L: what its PRINT key prints, one line for each thing that its menu has switched on, each CR LF.

    Doctor Id: 00001 / Patient Id: 0000000123 / Weight: 80.00 kg / Height: 183 cm / BMI: 23.9
Nothing marks where a print ends but its last line: BMI has to be switched on. A print that ends before it is rejected,
since nobody could tell it from one that was cut off. Units other than kg, lb, cm and in are not shown by the manual,
and rejected; it speaks of a sixth line and does not show it. Nothing says whether the load was still, or is still
there: PRINT may come after the patient has left, so a print that equals the last one is a possible repeat. There is no
checksum.

Source: Adam Equipment MUW-300L manual p. 16 (manualsonline.com muw_300l p. 16). Nothing is sent to the scale.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample, Step
from drivers.framing import TerminatedFrames
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks

LONGEST_LINE = 48
_LINE_LIMIT = 128

_ORDER = ("doctor", "patient", "weight", "height", "bmi")
_LINE = re.compile(
    rb"(?:Doctor Id: {1,8}(?P<doctor>[0-9A-Za-z-]{0,16}) {0,8}"
    rb"|Patient Id: {1,8}(?P<patient>[0-9A-Za-z-]{0,16}) {0,8}"
    rb"|Weight: {1,8}(?P<weight>-?[0-9]{1,3}(?:\.[0-9]{1,2})?) {1,2}(?P<weight_unit>[a-z]{1,4})"
    rb"|Height: {1,8}(?P<height>[0-9]{1,3}(?:\.[0-9]{1,2})?) {1,2}(?P<height_unit>[a-z]{1,4})"
    rb"|BMI: {1,8}(?P<bmi>[0-9]{1,3}(?:\.[0-9]{1,2})?))\r\n\Z"
)
_WEIGHT_UNITS = {b"kg": "kg", b"lb": "[lb_av]", b"lbs": "[lb_av]"}
_HEIGHT_UNITS = {b"cm": "cm", b"in": "[in_i]"}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return PrintCodec()


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Reprints(Listening(codec(model.quirks)))


class PrintCodec:
    """Gathers the lines of one print, in the order that the manual shows. See Codec."""

    limit = _LINE_LIMIT + len(_ORDER) * LONGEST_LINE

    def __init__(self) -> None:
        self._lines = TerminatedFrames(b"\r\n", limit=_LINE_LIMIT, keep=LONGEST_LINE)
        self._print = b""
        self._fields: dict[str, bytes] = {}

    def feed(self, data: bytes) -> list[Event]:
        """Answer the events that `data` completes; see Codec."""
        return [event for line, complete in self._lines.feed(data) for event in self._take(line, complete=complete)]

    def flush(self) -> list[Event]:
        """Give up a print that was not completed; see Codec."""
        rest = self._print + self._lines.flush()
        self._forget()
        return [Rejected("truncated", rest)] if rest else []

    def _take(self, line: bytes, *, complete: bool) -> list[Event]:
        found = _LINE.search(line) if complete else None
        if found is None:
            return [*self._give_up(), Rejected("unknown_line" if complete else "noise", line)]
        noise = line[: found.start()]
        fields = {name: text for name, text in found.groupdict().items() if text is not None}
        # A line that comes too early in the order begins the next print; noise within a print has hurt it.
        events = self._give_up() if noise or not self._goes_on(next(iter(fields))) else []
        events += [Rejected("noise", noise)] if noise else []
        self._print += found[0]
        self._fields |= fields
        if "bmi" in fields:
            events.append(_decode(self._print, self._fields))
            self._forget()
        return events

    def _goes_on(self, name: str) -> bool:
        return all(_ORDER.index(name) > _ORDER.index(known) for known in self._fields if known in _ORDER)

    def _give_up(self) -> list[Event]:
        given_up = self._print
        self._forget()
        return [Rejected("truncated", given_up)] if given_up else []

    def _forget(self) -> None:
        self._print, self._fields = b"", {}


def _decode(text: bytes, fields: dict[str, bytes]) -> Event:
    if "weight" not in fields:
        return Rejected("missing_weight", text)
    weight, weight_unit = Decimal(fields["weight"].decode("ascii")), _WEIGHT_UNITS.get(fields["weight_unit"])
    height_unit = _HEIGHT_UNITS.get(fields.get("height_unit", b"cm"))
    if weight_unit is None or height_unit is None:
        return Rejected("unknown_units", text)
    if not weight:
        return Notice("zero_weight", "the scale is empty", text)
    if weight < 0:
        return Notice("negative_weight", "less than nothing is on the scale: it was zeroed under a load", text)
    others = (("body_height", fields.get("height"), height_unit), ("bmi", fields["bmi"], "kg/m2"))
    measured = [(kind, Decimal(digits.decode("ascii")), unit) for kind, digits, unit in others if digits is not None]
    return Sample(
        (Measurement("body_weight", weight, weight_unit), *(Measurement(*one) for one in measured if one[1])),
        device_user=_id(fields.get("patient", b"")),
        raw=text,
    )


def _id(keyed_in: bytes) -> str | None:
    return keyed_in.decode("ascii") if keyed_in.strip(b"0") else None


class Reprints:
    """Flags a print that says what the last one of `driver` said: PRINT was pressed again, or two people are alike."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._last: tuple[tuple[Measurement, ...], str | None] | None = None

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        return self._step(self._driver.feed(data, now))

    def tick(self, now: float) -> Step:
        """Take note of the time; see Driver."""
        return self._step(self._driver.tick(now))

    def close(self, now: float) -> Step:
        """Answer what can still be said; see Driver."""
        return self._step(self._driver.close(now))

    def _step(self, step: Step) -> Step:
        return replace(step, events=tuple(map(self._compared, step.events)))

    def _compared(self, event: Event) -> Event:
        if not isinstance(event, Sample):
            return event
        says = (event.measurements, event.device_user)
        # The first since the port was opened may repeat one of before: the gateway knows that one.
        doubtful = self._last in (None, says)
        self._last = says
        return replace(event, flags=(*event.flags, "possible_repeat")) if doubtful else event
