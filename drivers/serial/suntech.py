"""SunTech Advantage OEM modules, the cuffs within other makers' monitors: polled, 9600 8N1.

A reply: 3E, its length, data, and the two's complement of the sum of all before. Numbers have 16 bits, low byte first.
    3E 05 pp pp cc      pressure in the cuff
    3E 18 ...           result: systolic @2, diastolic @4, beats @6, state @7, test codes @8 to 15, pulse @16,
                        spare @17, mean @18, error @20, spare @21 and 22
    3E 04 aa cc         O command taken, K carried out, A ended, B busy, E error, N and D not understood, S asleep,
                        T timeout
The pulse has 8 bits and a spare byte by one test, 16 by other drivers: where the upper byte is not 0 the frame is
refused. Any error but 0 is no measurement; of those above 4 the sources say different things. Beats, state, test codes
and spare bytes are not read.

Source: a public Java driver, com.ak.comm.bytes.suntech (NIBPRequest, NIBPResponse, tests). Sent are 79 05 (pressure in
the cuff) and 79 03 (result), which read. 20, 87 and 28 would inflate the cuff.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from drivers.checksums import complement8
from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample, Step
from drivers.framing import ScannedCodec, sized
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.polling import Polling

REQUESTS = (b"\x3a\x79\x05\x00\x48", b"\x3a\x79\x03\x00\x4a")
LONGEST_FRAME = 0x18
INFLATED = 30  # mmHg: above what a gauge shows that stands a little off zero, below any cuff at work
SETTLES_S = 5.0  # so long after the cuff is empty the result before may still be there
LIVE_S = 120.0  # a result that came up while nobody was answered for longer is none of now

_ANSWER, _PRESSURE, _RESULT = 0x04, 0x05, 0x18
_GREATEST = 999
_ANSWERS = {
    b"O": ("acknowledged", "a command was taken"),
    b"K": ("acknowledged", "a command was carried out"),
    b"A": ("aborted", "the measurement was ended"),
    b"B": ("busy", "the module is at work"),
    b"E": ("device_error", "the module reports an error"),
    b"N": ("not_understood", "the module did not understand the request"),
    b"D": ("not_understood", "the module did not understand the request"),
    b"S": ("asleep", "the module sleeps"),
    b"T": ("timeout", "the module waited too long"),
}
_ERRORS = {
    1: ("weak_signal", "the pulse was too weak: is the cuff where it belongs?"),
    2: ("artefact", "the pulse came unevenly: the arm moved"),
    3: ("out_of_range", "the pressure was beyond what the module measures"),
    4: ("timeout", "the measurement took too long"),
}
_FAILED = ("measurement_failed", "the module could not measure")
_MAY_WORK = {"measuring", "busy", "no_answer"}
_REPEAT = Notice("repeat", "this reading was told already")
_OLD = Notice("old_record", "a result from before the port was opened, or before the cuff was at work")


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    scan = sized(b"\x3e", _size, head=2, good=lambda frame: complement8(frame[:-1]) == frame[-1])
    return ScannedCodec(scan, _decode, longest=LONGEST_FRAME)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return _Results(Polling(Listening(codec(model.quirks)), REQUESTS, model.polling))


def _size(head: bytes) -> int:
    return head[1] if head[1] in (_ANSWER, _PRESSURE, _RESULT) else 0


def _decode(frame: bytes) -> Event:
    if frame[1] == _ANSWER:
        answer = _ANSWERS.get(frame[2:3])
        return Notice(*answer, frame) if answer else Rejected("unknown_reply", frame)
    if frame[1] == _PRESSURE:
        if int.from_bytes(frame[2:4], "little", signed=True) > INFLATED:
            return Notice("measuring", "the cuff is under pressure", frame)
        return Notice("standby", "the cuff is empty", frame)
    error = frame[20]
    if error:
        return Notice(*_ERRORS.get(error, _FAILED), frame)
    systolic, diastolic, pulse, mean = (int.from_bytes(frame[at : at + 2], "little") for at in (2, 4, 16, 18))
    if not (systolic or diastolic or pulse or mean):
        return Notice("none_yet", "there is no pressure", frame)
    if not systolic or not diastolic or max(systolic, diastolic, mean) > _GREATEST or frame[17]:
        return Rejected("bad_number", frame)
    measurements = [
        Measurement("systolic", Decimal(systolic), "mm[Hg]"),
        Measurement("diastolic", Decimal(diastolic), "mm[Hg]"),
    ]
    if mean:
        measurements.append(Measurement("mean_arterial_pressure", Decimal(mean), "mm[Hg]"))
    if pulse:
        measurements.append(Measurement("pulse_rate", Decimal(pulse), "/min"))
    return Sample(tuple(measurements), raw=frame)


class _Results:
    """Lets each result of `driver` through once. A result has neither age nor counter, so:

    1. Until SETTLES_S after the cuff was last at work, busy or silent, what is there may be the result before.
    2. After that one with other numbers, or another error, is new. What is not read (state, test codes) may change by
       itself. The same one again is the same where the cuff was not at work; where it was, nobody can tell: it is told
       once as a possible repeat.
    3. What is there at the first poll, or after no answer for LIVE_S, is old: it is told as stored, since it may have
       gone lost meanwhile.
    A failed measurement is told as often as a measured one, an old one not at all; an answer that comes at each poll
    (asleep, device_error) is told once.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._known: bytes | None = None  # the numbers and the error that were there last
        self._worked_at: float | None = None  # when the cuff may have been at work; None: not since that
        self._heard_at = float("-inf")
        self._answer = b""

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        return self._step(self._driver.feed(data, now), now)

    def tick(self, now: float) -> Step:
        """Take note of the time; see Driver."""
        return self._step(self._driver.tick(now), now)

    def close(self, now: float) -> Step:
        """Answer what can still be said; see Driver."""
        return self._step(self._driver.close(now), now)

    def _step(self, step: Step, now: float) -> Step:
        return replace(step, events=tuple(self._take(event, now) for event in step.events))

    def _take(self, event: Event, now: float) -> Event:
        if isinstance(event, Rejected):
            return event
        if isinstance(event, Notice) and event.code in _MAY_WORK:
            self._worked_at = now
        if not event.raw:  # the driver's own word: no answer
            return event
        if now > self._heard_at + LIVE_S:
            self._known = None
        self._heard_at = now
        if event.raw[1] == _RESULT:
            return self._judge(event, now)
        if event.raw[1] == _ANSWER and event.raw == self._answer:
            return _REPEAT
        self._answer = event.raw if event.raw[1] == _ANSWER else self._answer
        return event

    def _judge(self, event: Sample | Notice, now: float) -> Event:
        """Answer what a result is: new, the one before, perhaps one of both, or from before us."""
        said, known = event.raw[2:6] + event.raw[16:21], self._known
        if isinstance(event, Notice) and event.code == "none_yet":
            self._known = said
            return event
        if known is None:
            self._known = said
            return _flagged(event, "stored", "possible_repeat") if isinstance(event, Sample) else _OLD
        if self._worked_at is not None and now < self._worked_at + SETTLES_S:
            return _OLD
        worked, self._worked_at, self._known = self._worked_at is not None, None, said
        if said != known:
            return event
        if not worked:
            return _REPEAT
        return _flagged(event, "possible_repeat") if isinstance(event, Sample) else event


def _flagged(sample: Sample, *flags: str) -> Sample:
    return replace(sample, flags=(*sample.flags, *flags))
