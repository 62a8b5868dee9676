"""The log as another process writes it, and the two helpers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.log import Throttle, configure, printable

PREAMBLE = """
import logging
from gateway.log import configure
configure({level!r})
ours, theirs = logging.getLogger("gateway.supervisor"), logging.getLogger("some.library")
"""


def _stderr_of(body: str, tmp_path: Path, level: str = "info", journal: bool = False) -> list[str]:
    """The lines that a fresh process writes; `journal`: with stderr named as systemd names the journal's stream."""
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    with (tmp_path / "stderr").open("w+b") as stderr:
        stat = os.fstat(stderr.fileno())
        if journal:
            environment["JOURNAL_STREAM"] = f"{stat.st_dev}:{stat.st_ino}"
        program = PREAMBLE.format(level=level) + body
        subprocess.run([sys.executable, "-c", program], stderr=stderr, env=environment, check=True, timeout=30)
        stderr.seek(0)
        return stderr.read().decode().splitlines()


def test_a_terminal_or_file_gets_time_level_and_name(tmp_path: Path) -> None:
    (line,) = _stderr_of("ours.warning('port %s is busy', 'A')", tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING gateway\.supervisor: port A is busy", line)


def test_the_journal_gets_the_priority_and_no_time(tmp_path: Path) -> None:
    body = """
for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
    ours.log(level, "x")
"""
    lines = _stderr_of(body, tmp_path, level="debug", journal=True)
    assert lines == [f"<{priority}>gateway.supervisor: x" for priority in (7, 6, 4, 3, 2)]


def test_the_time_is_utc_wherever_the_machine_is(tmp_path: Path) -> None:
    body = "import os, time; os.environ['TZ'] = 'EST+5'; time.tzset(); ours.info('x')"
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    (line,) = _stderr_of(body, tmp_path)
    assert before <= datetime.fromisoformat(line.split()[0]) <= datetime.now(UTC)


@pytest.mark.parametrize("stream", ["1:2", ""])
def test_a_journal_stream_of_somebody_else_is_not_ours(stream: str, tmp_path: Path) -> None:
    body = f"import os; os.environ['JOURNAL_STREAM'] = {stream!r}; configure('info'); ours.info('x')"
    (line,) = _stderr_of(body, tmp_path, journal=True)
    assert line.endswith("INFO gateway.supervisor: x")


def test_ours_speak_at_the_level_asked_and_others_from_warning_up(tmp_path: Path) -> None:
    body = """
ours.debug("ours, debug"); theirs.debug("theirs, debug"); theirs.info("theirs, info"); theirs.warning("theirs, warning")
"""
    texts = [line.rpartition(": ")[2] for line in _stderr_of(body, tmp_path, level="debug")]
    assert texts == ["ours, debug", "theirs, warning"]
    assert _stderr_of(body + 'ours.info("ours, info")', tmp_path, level="error")[0].endswith("theirs, warning")


def test_configured_twice_is_still_one_line_a_record(tmp_path: Path) -> None:
    assert len(_stderr_of("configure('info'); ours.info('x')", tmp_path)) == 1


@pytest.mark.parametrize("journal", [True, False])
def test_nothing_in_a_record_begins_a_line_or_reaches_a_terminal(tmp_path: Path, journal: bool) -> None:
    body = r"""
ours.error("name: %s", "cuff\n<0>forged\x1b[2J\u2028\u202e\r")
try:
    raise ValueError("bad\nname")
except ValueError:
    ours.exception("37 °C is not in the log, a degree sign may be")
"""
    forged, traceback = _stderr_of(body, tmp_path, journal=journal)
    assert forged.endswith(r"name: cuff\n<0>forged\x1b[2J\u2028\u202e\r")
    assert "°" in traceback
    assert r"\nTraceback (most recent call last):\n" in traceback
    assert traceback.endswith(r"ValueError: bad\nname")


def test_a_record_without_end_is_cut(tmp_path: Path) -> None:
    (line,) = _stderr_of("ours.error('x' * 1_000_000)", tmp_path)
    assert len(line) < 10_000
    assert line.endswith("x...[1000019]".replace("1000019", str(1_000_000 + len(line.split("x")[0]))))


def test_a_level_that_does_not_exist_is_refused() -> None:
    program = PREAMBLE.format(level="loud")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert "ValueError: Unknown level: 'LOUD'" in result.stderr
    assert configure.__doc__ is not None
    assert "ValueError" in configure.__doc__


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"ST,GS,+  81.2kg\r\n", r"ST,GS,+  81.2kg\r\n"),
        (b"\x1bR\xff\x00", r"\x1bR\xff\x00"),
        ("A&D_UA-651BLE_°\u202e\n", r"A&D_UA-651BLE_\xb0\u202e\n"),
        ("\ud800", r"\ud800"),
        ("back\\slash", r"back\\slash"),
        (b"", ""),
        (b"a" * 80, "a" * 80),
        (b"a" * 81, "a" * 73 + "...[81]"),
        (b"\x00" * 40, r"\x00" * 18 + "...[40]"),
    ],
)
def test_device_text_is_escaped_and_bounded(data: bytes | str, expected: str) -> None:
    assert printable(data) == expected


@given(st.binary(max_size=300) | st.text(max_size=300), st.integers(16, 200))
def test_printable_is_always_short_one_line_and_ascii(data: bytes | str, limit: int) -> None:
    shown = printable(data, limit)
    assert len(shown) <= limit
    assert shown.isascii()
    assert not shown or shown.isprintable()


@given(st.binary(max_size=20))
def test_what_is_not_cut_can_be_read_back(data: bytes) -> None:
    assert printable(data).encode().decode("unicode_escape").encode("latin-1") == data


def test_the_same_complaint_is_told_once_an_interval_with_the_count_of_what_was_left_out() -> None:
    throttle = Throttle(interval_s=60)
    scale, cuff = ("scale", "bad_checksum"), ("cuff", "bad_checksum")
    assert throttle.admit(scale, 100.0) == 0
    assert throttle.admit(scale, 100.0) is None
    assert throttle.admit(cuff, 110.0) == 0
    assert throttle.admit(scale, 159.9) is None
    assert throttle.admit(scale, 160.0) == 2
    assert throttle.admit(scale, 220.0) == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 50)), max_size=60))
def test_told_and_left_out_add_up_and_are_far_enough_apart(steps: list[tuple[str, float]]) -> None:
    throttle = Throttle(interval_s=60)
    now, complaints, accounted, last = 0.0, {"a": 0, "b": 0}, {"a": 0, "b": 0}, dict[str, float]()
    for key, pause in steps:
        now += pause
        complaints[key] += 1
        left_out = throttle.admit(key, now)
        if left_out is None:
            continue
        accounted[key] += 1 + left_out
        assert accounted[key] == complaints[key]
        assert key not in last or now - last[key] >= 60
        last[key] = now
    assert all(key in last for key in complaints if complaints[key])
