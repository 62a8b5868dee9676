"""With which configuration the service starts: its YAML, or where that is bad the last good one, and it says so.

A YAML that is not there is a decision, not a mistake: then nothing is started. Nor is it where the bad one names
another room than the last good one (gateway/doubts.py).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway import doubts, last_good
from gateway.config import ConfigError, Loaded, load, read_password, with_consents
from gateway.in_force import InForce, running
from gateway.problems import Problem
from gateway.settings import LeftOut, Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """`loaded` is good. `in_force`: whether it is the YAML's, and what is wrong with that."""

    settings: Settings
    loaded: Loaded
    in_force: InForce


def choose(path: Path, tell: Callable[[Problem], None]) -> Start | None:
    """Answer what to start with, None where there is nothing; `tell` is given each problem of the YAML."""
    loaded = load(path)
    for problem in loaded.problems:
        tell(problem)
    trouble = [str(problem) for problem in loaded.problems if problem.severity == "error"]
    if loaded.settings is not None:
        try:
            return Start(loaded.settings, loaded, running(ready(loaded.settings)))
        except ConfigError as error:
            _log.error("%s", error)
            trouble = [str(error)]
    if not os.path.lexists(path):
        _log.error("%s is not there: nothing is started. Put it there, then check it and start the service", path)
        return None
    kept = last_good.recall(path)
    if kept is None or kept.settings is None:
        return None
    difference = doubts.moved(path, loaded, kept.settings)
    if difference is not None:
        _log.error("%s is bad, and %s: nothing is started. Correct it, then start the service", path, difference)
        return None
    try:
        ready(kept.settings)
    except ConfigError as error:
        _log.error("the last good configuration cannot be used either: %s", error)
        return None
    settings = _without(kept.settings, doubts.in_another_unit(path, loaded, kept))
    if not settings.devices:
        _log.error("of the last good configuration no device is left: nothing is started")
        return None
    words = "%s is bad (%d problems, above): THE LAST GOOD CONFIGURATION RUNS (hash %s). Correct it, then reload"
    _log.error(words, path, len(trouble), settings.config_hash)
    left_out = tuple(device.id for device in settings.left_out)
    return Start(settings, kept, InForce(settings.config_hash, "last_good", len(trouble), trouble[0], left_out))


def _without(settings: Settings, doubtful: tuple[LeftOut, ...]) -> Settings:
    names = {device.id for device in doubtful}
    for device in doubtful:
        _log.error("%s is not read: %s", device.id, device.problem)
    devices = tuple(device for device in settings.devices if device.id not in names)
    return replace(settings, devices=devices, left_out=(*settings.left_out, *doubtful))


def ready(settings: Settings) -> Settings:
    """Answer the settings as the service will have them: what they name can be read. Raises ConfigError."""
    read_password(settings.broker)
    return with_consents(settings)
