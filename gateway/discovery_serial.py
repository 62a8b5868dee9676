"""Listening on serial ports to learn what is plugged in: docs/decisions/0025.

1. Nothing is sent, unless a person named the one model whose requests are sent on the one port that they named, and
   then only after the port was silent. Those requests read; they are the ones that the service itself sends.
2. A port that somebody holds is not opened: two readers of one port get half the bytes each. Nor is one that is in the
   running service's configuration, nor the kernel's console.
3. One line setting at a time. While nothing comes, waiting is all that can be done; bytes that no protocol of ours
   explains mean another setting, and the next is tried.
4. What was heard is counted and forgotten: bytes are a patient's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Literal

from drivers import registry
from drivers.contract import Step
from drivers.errors import LinkError, LinkFault
from drivers.links.serial_port import SerialPort
from drivers.links.serial_ports import PortFacts
from drivers.models import DeviceModel, LineSettings
from drivers.recognize import Recognizer, Verdict

TURN_S = 5.0  # from the first bytes at a setting; the slowest that speaks by itself says a line every two seconds
SILENT_FIRST_S = 5.0  # before a device is asked

State = Literal["waiting", "ours", "held", "console", "failed", "silent", "unreadable", "recognized"]
Tell = Callable[[str], None]


@dataclass(slots=True)
class PortFinding:
    """What was learned of one port so far. `name`: what the YAML calls it. `device`: the running service's id of it.

    `detail`: in words, where there is more to say.

    `line` and `verdicts`: at which setting it was recognized, as what. `asked`: the model whose requests were sent.
    """

    facts: PortFacts
    name: str
    state: State = "waiting"
    detail: str = ""
    device: str | None = None
    line: LineSettings | None = None
    verdicts: tuple[Verdict, ...] = ()
    seen: int = 0
    is_pty: bool = False
    asked: str | None = None


def lines(models: Mapping[str, DeviceModel]) -> list[LineSettings]:
    """Answer the line settings of the catalogue, the most frequent first; without flow control: we say nothing."""
    counted = Counter(replace(row.line, flow_control="none") for row in models.values() if row.link == "serial")
    return [line for line, _ in counted.most_common()]


def written(line: LineSettings) -> str:
    """Answer a line setting as manuals write it: 9600 8N1."""
    return f"{line.baud} {line.data_bits}{line.parity[0].upper()}{line.stop_bits}"


def asks(model: DeviceModel) -> bool:
    """Answer whether the driver of this serial model sends requests."""
    return bool(registry.driver(model).tick(0.0).write)


def is_left_alone(finding: PortFinding) -> bool:
    """Note why a port is not opened, if there is a reason."""
    facts = finding.facts
    if finding.device is not None:
        finding.state = "ours"
    elif facts.holders:
        finding.state = "held"
    elif facts.is_console:
        finding.state = "console"
    return finding.state != "waiting"


async def listen(
    finding: PortFinding,
    settings: Sequence[LineSettings],
    seconds: float,
    tell: Tell,
    ask: tuple[str, DeviceModel] | None = None,
) -> None:
    """Listen on one port until it is recognized, or for so long; `finding` says at any moment what is known."""
    until = time.monotonic() + seconds
    name = finding.name
    for line in cycle(settings):
        try:
            port = await SerialPort.open(finding.facts.device, line)
        except LinkError as error:
            denied = error.fault is LinkFault.PORT_DENIED  # to whoever types, not to the service
            _fail(finding, f"{name} may not be opened: be root, or use sudo" if denied else str(error), tell)
            return
        finding.is_pty = port.is_pty
        turn = _Turn(port, finding, until, ask)
        try:
            await turn.take()
        except LinkError as error:
            _fail(finding, str(error), tell)
            return
        finally:
            port.close()
        if turn.is_recognized:
            finding.state, finding.line = "recognized", line
            at = "" if finding.is_pty else f", at {written(line)}"
            tell(f"{name}: {' or '.join(verdict.driver for verdict in finding.verdicts)}{at}")
            return
        finding.state = "unreadable" if finding.seen else "silent"
        if time.monotonic() >= until:
            tell(f"{name}: {'bytes came that no protocol explains' if finding.seen else 'silent'}")
            return
        tell(f"{name}: bytes came that no protocol explains at {written(line)}: the next setting. Use it once more")


def _fail(finding: PortFinding, why: str, tell: Tell) -> None:
    finding.state, finding.detail = "failed", why
    tell(why)


class _Turn:
    """One port at one setting: it ends when it is sure, when TURN_S after the first bytes have told, or `until`."""

    def __init__(
        self, port: SerialPort, finding: PortFinding, until: float, ask: tuple[str, DeviceModel] | None
    ) -> None:
        self._port = port
        self._finding = finding
        self._ends = until
        self._until = until
        self._recognizer = Recognizer()
        self._ask = ask
        self._asks_at = time.monotonic() + SILENT_FIRST_S if ask is not None else None
        self._driver = registry.driver(ask[1]) if ask is not None else None
        self._deadline: float | None = None

    @property
    def is_recognized(self) -> bool:
        """Whether a protocol was recognized."""
        return bool(self._recognizer.winners)

    async def take(self) -> None:
        """Listen, and ask if it has to be. Raises LinkLost, LinkTimeout."""
        try:
            while (now := time.monotonic()) < self._ends and not self._recognizer.is_sure:
                self._ask_if_due(now)
                times = [t for t in (self._ends, self._asks_at, self._deadline) if t is not None]
                data, at = await self._port.read(min(times))
                if data:
                    self._heard(data, at)
        finally:
            self._recognizer.flush()
            self._finding.verdicts = self._recognizer.winners

    def _heard(self, data: bytes, at: float) -> None:
        if not self._recognizer.seen:
            if not self._finding.is_pty:  # it has no line: another setting would hear the same
                self._ends = min(self._until, at + TURN_S)
            self._asks_at = None  # it speaks by itself: nothing is asked
        self._recognizer.feed(data)
        self._finding.seen += len(data)
        self._finding.verdicts = self._recognizer.winners
        if self._driver is not None and self._finding.asked is not None:
            self._send(self._driver.feed(data, at))

    def _ask_if_due(self, now: float) -> None:
        if self._ask is None or self._driver is None:
            return
        if self._asks_at is not None and now >= self._asks_at:
            self._asks_at, self._finding.asked = None, self._ask[0]
            self._send(self._driver.tick(now))
        elif self._deadline is not None and now >= self._deadline:
            self._send(self._driver.tick(now))

    def _send(self, step: Step) -> None:
        self._deadline = step.deadline
        if step.write:
            self._port.write(step.write)
