"""One device of a `certify`: asked for a reading, and the reading followed; what came of it is its Finding."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from drivers.contract import Notice
from gateway import certificate
from gateway.certificate import Finding, advice
from gateway.following import Following
from gateway.reading import ClockQuality, Disposition, Reading
from gateway.standing import Standing
from gateway.trials import Taken, Trials, Verdict

_ONCE_MORE = frozenset({"possible_repeat", "stored_record", "test_overlap"})
_BROKER = "look at the broker: vitals-gateway doctor. The reading goes out when it is back, to the test topic"
_DISK = "vitals-gateway status says what is wrong with the outbox: check the disk"
_ARRIVED = {
    True: "It arrived at the broker, and came back from it byte for byte",
    False: "The broker has acknowledged it",
}


Open = Callable[[float], Awaitable[str]]


class NotSaved(Exception):
    """That a trial begins could not be written to the disk: it did not begin."""


class Attendant(Protocol):
    """One device's supervisor."""

    standing: Standing
    trials: Trials

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody is being measured."""
        ...


class Asked(Protocol):
    """Whoever asked: gateway/control.py's Dialog."""

    async def tell(self, **members: object) -> None:
        """Say one line."""
        ...

    async def ask(self, **members: object) -> dict[str, Any]:
        """Say one line and answer the reply."""
        ...


class Walk:
    """One device of one dialog."""

    def __init__(
        self, attendant: Attendant, following: Following, open_: Open, dialog: Asked, within_s: float, *, attended: bool
    ) -> None:
        """`open_` opens a trial of so many seconds, once the device is at rest; answers until when."""
        self.notice: Notice | None = None  # the last that people should know of
        self._following = following
        self._open = open_
        self._attendant = attendant
        self._dialog = dialog
        self._within_s = within_s
        self._attended = attended
        self._device = attendant.standing.device
        self._heard: asyncio.Queue[tuple[Reading, Verdict, frozenset[str]]] = asyncio.Queue()
        self._finding = Finding(self._device)
        self._is_open = False

    async def go(self) -> Finding:
        """Certify it. Raises ConnectionError."""
        if getattr(self._attendant, "is_observed", False):
            return self._finding.ended("failed", "busy", "somebody pairs it now", "wait until that is done")
        try:
            with self._attendant.trials.taken(self._hear):
                finding = await self._go()
        except Taken:
            return self._finding.ended("failed", "busy", "somebody else certifies it now", "wait until that is done")
        words = f"{finding.text}. {finding.do}".rstrip(". ") if finding.result != "passed" else finding.text
        await self._tell("ended", words, result=finding.result)
        return finding

    def _hear(self, reading: Reading, verdict: Verdict) -> None:
        self._heard.put_nowait((reading, verdict, self._following.refused))

    async def _go(self) -> Finding:
        model = self._device.model
        if self._attended:
            words = (
                f"Next: {self._device.id} ({model.maker} {model.model}). For at most {self._within_s / 60:.0f} minutes"
                " nothing that it measures will reach the chart. No patient may be on it, or have its cuff on"
            )
            said = await self._dialog.ask(ask="ready", device=self._device.id, text=words)
            if said.get("ready") is not True:
                return self._finding.ended("skipped", "skipped", "the person skipped it", "certify it later")
        try:
            async with asyncio.timeout(self._within_s):
                return await self._prove()
        except NotSaved:
            return self._finding.ended("failed", "disk", "that a test begins cannot be written to the disk", _DISK)
        except TimeoutError:
            return self._too_late()

    async def _prove(self) -> Finding:
        deadline = asyncio.get_running_loop().time() + self._within_s
        if not self._attendant.is_at_rest:
            status = self._attendant.standing.status
            words = "It is in use, or was a moment ago. Nobody may be on it: the test begins when it has been at rest"
            if status.state == "offline":
                words = f"It is offline ({status.reason}): {advice(status.reason, status.detail)}"
            await self._tell("waiting", words)
        until = await self._open(deadline - asyncio.get_running_loop().time())
        self._is_open = True
        words = f"Until {until} nothing that {self._device.id} measures reaches the chart. Take a reading now"
        await self._tell("open", words, until=until)
        while True:
            reading, verdict, refused = await self._heard.get()
            if not await self._is_another_needed(reading, verdict):
                return await self._follow(reading, refused)

    async def _is_another_needed(self, reading: Reading, verdict: Verdict) -> bool:
        """Whether this reading proves nothing, for a reason that the next one may not have."""
        finding, why = self._finding, None
        is_undated = "clock_unverifiable" in reading.reasons
        if is_undated and reading.times.quality is ClockQuality.UNSYNCED:
            return False  # as would be every other
        if verdict is not Verdict.TESTS:
            why = "One came that was measured before, or nobody can say when: it goes its way as a patient's"
            reason = next(iter(reading.reasons), "not_of_the_test")
        elif is_undated or not _ONCE_MORE.isdisjoint(reading.reasons):
            reason = next(one for one in reading.reasons if one in _ONCE_MORE or one == "clock_unverifiable")
            why = f"One came, and is held ({reason})"
        if why is None:
            return False
        finding.ended("failed", reason, why, advice(reason, "measure once more"))
        await self._tell("passed_over", f"{why}. Take another")
        return True

    async def _follow(self, reading: Reading, refused_before: frozenset[str]) -> Finding:
        finding, following = self._finding, self._following
        finding.reading, finding.proof = reading, "captured"
        finding.ended("failed", "not_committed", "it was read and is not on disk", _DISK)
        row = finding.kept = await following.committed(reading)
        finding.proof = "committed"
        finding.ended("failed", "not_acknowledged", "it is on disk, and the broker did not say that it has it", _BROKER)
        await self._tell("committed", f"Read and kept, as sequence {row.sequence}", id=str(reading.id))
        is_held = reading.disposition is Disposition.HOLD
        reasons = ", ".join(reading.reasons)
        has_it = await following.acknowledged(finding, row, refused_before)
        if has_it:
            finding.proof = "acknowledged"
            row = finding.kept or row
            if await following.seen(row):
                finding.proof = "seen"
            else:
                words = "that it comes back was not seen: this gateway may not read its test topics. The access rule"
                finding.remarks.append(f"{words}: {following.right_to_read}")
            await self._tell("arrived", _ARRIVED[finding.proof == "seen"])
        if is_held:
            do = advice(next(iter(reading.reasons), None), "see docs/it.md")
            if "clock_unverifiable" in reading.reasons and reading.times.quality is ClockQuality.UNSYNCED:
                do = "the gateway's own clock is not synchronized: timedatectl timesync-status"
            words = "it arrived" if has_it else "it was kept"
            return finding.ended("failed", next(iter(reading.reasons), "held"), f"{words}, but held: {reasons}", do)
        if not has_it:
            return finding
        if finding.proof != "seen" and not following.puback_tells:
            words = "over MQTT 3.1.1 a broker acknowledges what it throws away, and it did not come back"
            return finding.ended("failed", "not_seen", words, f"in its access rules: {following.right_to_read}")
        if reading.times.quality is not ClockQuality.SYNCED:
            finding.remarks.append(f"the gateway's clock was {reading.times.quality.value}")
        if self._attended and not await self._is_what_it_shows(reading):
            return finding
        return finding.ended("passed", None, "Passed")

    async def _is_what_it_shows(self, reading: Reading) -> bool:
        finding = self._finding
        finding.ended("failed", "display_not_compared", "nobody said whether the device shows the same")
        said = await self._dialog.ask(
            ask="shown", device=self._device.id, text="Does the device show this?", values=certificate.shown(reading)
        )
        if said.get("shown") is True:
            finding.display = "agrees"
            return True
        if said.get("shown") is False:
            finding.display = "differs"
            do = "do not use it: is it this model, is `unit` in the YAML right? Report it to the maker"
            finding.ended("failed", "display_differs", "the device shows something else", do)
        return False

    def _too_late(self) -> Finding:
        """Answer why nothing came of it in its time."""
        finding, status = self._finding, self._attendant.standing.status
        if finding.reason is not None:
            return finding
        notice = self.notice
        minutes = f"within {self._within_s:.0f} s"
        if notice is not None:
            text = f"no reading came {minutes}; it told {notice.code}"
            return finding.ended("failed", notice.code, text, notice.detail or "look at its display, measure again")
        if status.reason is None and not self._is_open:
            do = "nobody may be on it, and nothing: empty it, switch it off and on"
            return finding.ended("failed", "never_at_rest", f"it was in use all the time, {minutes}", do)
        reason = status.reason or "no_reading"
        do = advice(reason, status.detail) or "measure once more, until it shows a result; vitals-gateway status"
        return finding.ended("failed", reason, f"no reading came {minutes}: {reason}", do)

    async def _tell(self, step: str, text: str, **members: object) -> None:
        await self._dialog.tell(step=step, device=self._device.id, text=text, **members)
