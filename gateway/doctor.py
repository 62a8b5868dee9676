"""The checks of `vitals-gateway doctor`, one after the other: each has a limit, and none can stop the page.

Where the service runs, its own word comes first: it has the ports, the radio, the connection to the broker and the
outbox, and what it does is better evidence than what a probe could do beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway import control, machine, practice, programs
from gateway.config import Loaded, load
from gateway.doctor_broker import broker
from gateway.doctor_devices import bluetooth, devices
from gateway.doctor_outbox import outbox
from gateway.findings import Finding, found, good
from gateway.log import place_of
from gateway.payload import Origin
from gateway.problems import Problem
from gateway.settings import Settings

LIMIT_S = 10.0
BROKER_LIMIT_S = 60.0  # several brokers, each of which may be silent
UNIT = "vitals-gateway.service"


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: the configuration, and the running service's status, None where none answers.

    `silence`: why none answers; `denied`: it may, and we may not ask.
    """

    file: Path
    loaded: Loaded
    status: Mapping[str, Any] | None
    silence: str = ""
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the page: its name, what finds its lines, how long that may take."""

    name: str
    look: Callable[[], Iterable[Finding]]
    limit_s: float = LIMIT_S


def admit(config: Path, socket: Path) -> Patient:
    """Read the configuration and ask the service. It raises nothing for either."""
    loaded = load(config)
    try:
        return Patient(config, loaded, control.ask(socket, "status"))
    except control.ControlError as error:
        return Patient(config, loaded, None, str(error), denied=isinstance(error.__context__, PermissionError))


def checks(patient: Patient) -> Iterator[Check]:
    """Answer the checks of the page, in order."""
    settings, status = patient.loaded.settings, patient.status
    if settings is not None and status is not None and status["gateway"]["id"] != _name(settings):
        status = None  # another room's: it knows nothing of these devices
    yield Check("configuration", partial(_configuration, patient))
    yield Check("service", partial(_service, patient))
    yield Check("power", _power)
    zone = None if settings is None else settings.timezone
    quality = None if status is None else str(status["gateway"]["clock"])
    yield Check("clock", partial(machine.clock, zone, quality, Path(__file__).stat().st_mtime))
    yield Check("serial", machine.serial_conflicts)
    if settings is None:
        return
    yield Check("disk", partial(machine.disk, settings))
    yield Check("outbox", partial(outbox, settings, status))
    yield Check("broker", partial(broker, settings, status, denied=patient.denied), BROKER_LIMIT_S)
    if any(device.address is not None for device in settings.devices):
        yield Check("bluetooth", partial(bluetooth, status))
    yield Check("device", partial(devices, settings, status))


def examine(checks: Iterable[Check]) -> Iterator[Finding]:
    """Yield the page's lines, in order, as they are known. All begin at once; what hangs stays behind in its thread."""
    begun = [(check, _begin(check), time.monotonic() + check.limit_s) for check in checks]
    for check, future, until in begun:
        try:
            yield from future.result(max(0.0, until - time.monotonic()))
        except NotInTime:
            yield replace(found("check_hangs", f"no answer within {check.limit_s:g} s"), check=check.name)


def _begin(check: Check) -> Future[list[Finding]]:
    future: Future[list[Finding]] = Future()

    def run() -> None:
        try:
            future.set_result(list(check.look()))
        except Exception as error:  # noqa: BLE001 - the check's edge: the other lines are wanted all the same
            future.set_result([replace(found("check_failed", place_of(error)), check=check.name)])

    threading.Thread(target=run, name=check.name, daemon=True).start()
    return future


def _configuration(patient: Patient) -> Iterator[Finding]:
    problems = list(patient.loaded.problems)
    errors = [problem for problem in problems if problem.severity == "error"]
    settings = patient.loaded.settings
    if settings is None:
        yield found("config_bad", f"{len(errors)} errors, the first: {_words(errors[0])}")
        return
    problems += practice.doubts(patient.file, settings)
    doubts = list(dict.fromkeys(map(_words, problems)))
    if doubts:
        more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
        yield found("config_doubtful", f"{doubts[0]}{more}")
    else:
        yield good("configuration", f"{settings.site}/{settings.room}, {len(settings.devices)} devices")


def _words(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}: {problem.path}: {problem.message}"


def _service(patient: Patient) -> Iterator[Finding]:
    settings, status = patient.loaded.settings, patient.status
    unit = programs.unit(UNIT)
    restarts = f", started anew {unit['NRestarts']} times" if unit.get("NRestarts", "0") not in ("0", "") else ""
    if status is None:
        systemd = f"; systemd says {unit['ActiveState']} ({unit.get('Result')})" if unit.get("ActiveState") else ""
        yield found("service_not_asked" if patient.denied else "service_down", f"{patient.silence}{systemd}")
        return
    told, here = status["gateway"], version("vitals-gateway")
    troubles = []
    if settings is not None and told["id"] != _name(settings):
        troubles.append(found("other_room", f"the service that runs here is {told['id']}"))
    elif settings is not None and told["config_hash"] != settings.config_hash:
        words = f"it runs with {told['config_hash']}, the file is {settings.config_hash}"
        troubles.append(found("config_changed", words))
    if told["version"] != here:
        troubles.append(found("version_changed", f"it is version {told['version']}, installed is {here}"))
    troubles += [found("does_not_add_up", problem) for problem in status["account"]["unbalanced"]]
    yield from troubles or [good("service", f"version {here}, since {told['started_at']}{restarts}")]


def _name(settings: Settings) -> str:
    return Origin(settings.site, settings.room, "", None).gateway_id


def _power() -> Iterator[Finding]:
    yield from machine.power(programs.kernel_log())
