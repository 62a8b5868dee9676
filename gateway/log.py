"""What the gateway writes to its log: one line a record, on stderr.

1. No patient data: no values, no frames, no IDs. `printable` makes device text safe to print; it does not make it
   fit to print.
2. Other people's libraries are heard from `warning` up, whatever level is asked: at `debug` some of them write the
   bytes that a device sent. bleak from `error` up: what it warns of, drivers/links says in words for IT.
3. Nothing that a record holds can begin a second line or reach a terminal as a command.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Hashable, Mapping

_OURS = ("gateway", "drivers", "simulators")

# A traceback of some forty frames; far below journald's LineMax= of 48 KiB.
_MAX_LINE = 8192

_BEGINS = ((logging.CRITICAL, "<2>"), (logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))


def configure(level: str = "info") -> None:
    """Send every record to stderr, our own from `level` up (a name of logging's). ValueError: no such level.

    The journal gets the priority as sd-daemon(3) writes it and stamps the time itself; others get both in words.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalLine() if _is_journal(sys.stderr.fileno(), os.environ) else _TimedLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.getLogger("bleak").setLevel(logging.ERROR)


def printable(data: bytes | str, limit: int = 80) -> str:
    r"""Answer device text in at most `limit` ASCII characters, on one line: `\x1b`, `\r`, `\u2026` for the rest.

    What is cut ends in `...[N]`, N being its true length. `limit` is at least 16. For names and codes, never for
    frames: those are patient data.
    """
    text = data.decode("latin-1") if isinstance(data, bytes) else data
    escaped = [_escape(character) for character in text[:limit]]
    if len(text) <= limit and sum(map(len, escaped)) <= limit:
        return "".join(escaped)
    mark = f"...[{len(text)}]"
    shown, room = "", limit - len(mark)
    for piece in escaped:
        if len(shown) + len(piece) > room:
            break
        shown += piece
    return shown + mark


def place_of(error: BaseException) -> str:
    """Answer what kind of error it is and where it was raised; not its words, which may hold a device's bytes."""
    while isinstance(error, BaseExceptionGroup):  # a TaskGroup's: the first of them says enough
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f", {frames[-1].filename} line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


class Throttle:
    """Lets the same complaint through once in `interval_s`, and counts the others.

    A key is a device's id and a reason, both of them ours: a key that a device could invent would fill the memory.
    """

    def __init__(self, interval_s: float = 60.0) -> None:
        self._interval_s = interval_s
        self._told: dict[Hashable, tuple[float, int]] = {}

    def admit(self, key: Hashable, now: float) -> int | None:
        """Answer None to keep quiet, or how many were left out since the last one. `now`: monotonic seconds."""
        last, left_out = self._told.get(key, (None, 0))
        if last is not None and now - last < self._interval_s:
            self._told[key] = (last, left_out + 1)
            return None
        self._told[key] = (now, 0)
        return left_out


class _JournalLine(logging.Formatter):
    """`<4>gateway.supervisor: text`."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        begin = next((begin for level, begin in _BEGINS if record.levelno >= level), "<7>")
        return begin + _one_line(super().format(record))


class _TimedLine(logging.Formatter):
    """`2026-11-22T13:05:10.412Z WARNING gateway.supervisor: text`."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        return _one_line(super().format(record))


def _is_journal(fd: int, environment: Mapping[str, str]) -> bool:
    """Whether `fd` is the very stream that systemd connected: systemd.exec(5), $JOURNAL_STREAM, `device:inode`."""
    stat = os.fstat(fd)
    return environment.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def _one_line(text: str) -> str:
    r"""Our own text keeps its ° and ×; what does not print is escaped, a traceback's line feeds as `\n`."""
    line = "".join(character if character.isprintable() else _escape(character) for character in text[:_MAX_LINE])
    return line if len(text) <= _MAX_LINE else f"{line}...[{len(text)}]"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
