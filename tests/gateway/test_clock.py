"""The clock's core by given answers; its probes on the real kernel, real files and real processes."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import (
    HOLDOVER_S,
    MOVED_S,
    TIMESYNC_STALE_S,
    Clock,
    Instant,
    TimesyncStamp,
    boot_id,
    judge,
    kernel_synced,
    timedate_synced,
)
from gateway.reading import ClockQuality

SYNCED, HOLDOVER, UNSYNCED = ClockQuality.SYNCED, ClockQuality.HOLDOVER, ClockQuality.UNSYNCED
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

# adjtimex and clock_adjtime: glibc uses one or the other. Linux arch/*/include/.../unistd.
ADJTIMEX = {"x86_64": (159, 305), "aarch64": (171, 266)}

# What ProtectClock= does, in seccomp(2)'s own words: those two calls answer EPERM (1), all others go on.
REFUSE_ADJTIMEX = """
import ctypes, struct
first, second = {calls}
load, equal, answer = 0x20, 0x15, 0x06
code = b"".join(struct.pack("=HBBI", *line) for line in (
    (load, 0, 0, 0), (equal, 1, 0, first), (equal, 0, 1, second), (answer, 0, 0, 0x50001), (answer, 0, 0, 0x7FFF0000),
))
libc, filter = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(code)
program = struct.pack("@HP", len(code) // 8, ctypes.addressof(filter))
assert libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
assert libc.prctl(22, 2, program, 0, 0) == 0, "PR_SET_SECCOMP"
assert libc.adjtimex(ctypes.create_string_buffer(512)) == -1 and ctypes.get_errno() == 1
"""


class Hands:
    """Two clocks that show what the test says."""

    def __init__(self, monotonic: float, utc: datetime) -> None:
        self.mono = monotonic
        self.utc = utc
        self.slept = 0.0
        self.synced: bool | None = None

    def clock(self) -> Clock:
        return Clock([lambda: self.synced], lambda: self.mono, self.wall, lambda: self.slept)

    def wall(self) -> float:
        return self.utc.timestamp()

    def pass_by(self, seconds: float, *, drift_s: float = 0.0) -> None:
        self.mono += seconds
        self.utc += timedelta(seconds=seconds + drift_s)


def test_now_is_one_moment_on_both_clocks() -> None:
    assert Hands(50.0, NOON).clock().now() == Instant(50.0, NOON)


def test_what_came_before_the_first_synchronization_gets_the_utc_that_was_learnt_after_it() -> None:
    hands = Hands(10.0, datetime(2026, 3, 1, tzinfo=UTC))
    clock = hands.clock()
    arrived = clock.now().monotonic
    hands.mono, hands.utc = 40.0, NOON
    assert clock.utc_at(arrived) == datetime(2026, 11, 22, 11, 59, 30, tzinfo=UTC)


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_what_came_later_is_never_earlier(one: float, other: float) -> None:
    clock = Hands(1e7, NOON).clock()
    assert (clock.utc_at(min(one, other))) <= clock.utc_at(max(one, other)) <= NOON


def test_the_real_clocks_are_the_monotonic_one_and_utc() -> None:
    before = (time.monotonic(), datetime.now(UTC))
    instant = Clock().now()
    after = (time.monotonic(), datetime.now(UTC))
    assert before[0] <= instant.monotonic <= after[0]
    assert before[1] <= instant.utc <= after[1]


@given(st.lists(st.sampled_from([True, False, None])))
def test_quality_is_synced_now_or_once_or_never(answers: list[bool | None]) -> None:
    current: list[bool | None] = [None]
    clock = Clock(probes=(lambda: current[0],))
    assert clock.quality is UNSYNCED
    for number, answer in enumerate(answers, start=1):
        current[0] = answer
        clock.refresh()
        once = HOLDOVER if True in answers[:number] else UNSYNCED
        assert clock.quality is (SYNCED if answer else once)


# ---- a clock that is moved, and one that drifts ----------------------------------------------------------------------


@pytest.mark.parametrize("moved_s", [-3 * 3600.0, -2.5, 2.5, 3 * 3600.0, 50 * 365 * 86_400.0])
def test_a_clock_that_somebody_moved_is_unsynced_at_once_and_until_a_probe_says_otherwise(moved_s: float) -> None:
    hands = Hands(1000.0, NOON)
    clock = hands.clock()
    hands.synced = True
    clock.refresh()
    hands.utc += timedelta(seconds=moved_s)
    assert clock.quality is UNSYNCED, "nobody has been asked yet"
    assert clock.moved_by_s == pytest.approx(moved_s)
    hands.synced = None
    clock.refresh()
    assert (clock.quality, clock.moved_by_s) == (UNSYNCED, 0.0)
    hands.pass_by(30.0)
    clock.refresh()
    assert clock.quality is UNSYNCED, "what it was before the move is no holdover"
    hands.synced = True
    clock.refresh()
    assert clock.quality is SYNCED


def test_a_clock_that_is_moved_while_the_probes_are_asked_is_unsynced() -> None:
    hands = Hands(1000.0, NOON)

    def move() -> bool:
        hands.utc -= timedelta(hours=3)
        return True

    clock = Clock([move], lambda: hands.mono, hands.wall, lambda: 0.0)
    clock.refresh()
    assert clock.quality is UNSYNCED


@pytest.mark.parametrize("ppm", [-100, 100])
def test_drift_in_holdover_is_no_move_and_after_a_week_nobody_vouches_for_it(ppm: int) -> None:
    hands = Hands(1000.0, NOON)
    clock = hands.clock()
    hands.synced = True
    clock.refresh()
    hands.synced, alone_s = False, 0.0
    while alone_s + 3600.0 <= HOLDOVER_S:
        hands.pass_by(3600.0, drift_s=3600.0 * ppm / 1e6)
        alone_s += 3600.0
        clock.refresh()
        assert clock.quality is HOLDOVER
    assert abs((hands.utc - NOON).total_seconds() - alone_s) < 61.0
    hands.pass_by(3600.0)
    clock.refresh()
    assert clock.quality is UNSYNCED
    hands.synced = True
    clock.refresh()
    hands.synced = False
    hands.pass_by(60.0)
    clock.refresh()
    assert clock.quality is HOLDOVER


def test_a_leap_second_is_no_move() -> None:
    assert MOVED_S > 1.0


# ---- since the machine started ---------------------------------------------------------------------------------------


def test_an_instant_since_the_boot_has_its_utc_over_a_restart_and_a_sleep() -> None:
    hands = Hands(50.0, datetime(1970, 1, 1, tzinfo=UTC))
    instant = hands.clock().since_boot(40.0)
    hands.mono, hands.slept, hands.utc = 150.0, 1000.0, NOON  # asleep for 1000 s, awake for 100
    again = hands.clock()
    assert again.utc_since_boot(instant) == NOON - timedelta(seconds=1110)
    assert again.since_boot(150.0) == instant + 1110


def test_the_real_clock_since_the_boot_is_the_kernels() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    instant = Clock().since_boot(time.monotonic())
    assert before <= instant + 1e-3
    assert instant <= time.clock_gettime(time.CLOCK_BOOTTIME) + 1e-3


def test_the_boot_has_one_name_whoever_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = tmp_path / "boot_id"
    kernels.write_text("7c9e6679-7425-40de-944b-e07fc1f90ae7\n")
    monkeypatch.delenv("BOOT_ID", raising=False)
    assert boot_id(kernels) == "7c9e6679742540de944be07fc1f90ae7"
    monkeypatch.setenv("BOOT_ID", "7c9e6679742540de944be07fc1f90ae7")  # systemd's %b
    assert boot_id(tmp_path / "hidden") == "7c9e6679742540de944be07fc1f90ae7"
    monkeypatch.setenv("BOOT_ID", "no id")
    assert boot_id(kernels) != boot_id(kernels), "unknown is never the same again"


@pytest.mark.parametrize("before", list(ClockQuality))
def test_not_known_is_not_synced(before: ClockQuality) -> None:
    assert judge(None, before) is judge(False, before) is not SYNCED


def test_the_first_probe_that_knows_decides_and_the_others_are_not_asked() -> None:
    asked: list[str] = []

    def probe(name: str, answer: bool | None) -> Callable[[], bool | None]:
        def ask() -> bool | None:
            asked.append(name)
            return answer

        return ask

    clock = Clock(probes=(probe("kernel", None), probe("stamp", True), probe("process", False)))
    clock.refresh()
    assert clock.quality is SYNCED
    assert asked == ["kernel", "stamp"]
    asked.clear()
    clock = Clock(probes=(probe("kernel", False), probe("stamp", True)))
    clock.refresh()
    assert clock.quality is UNSYNCED
    assert asked == ["kernel"]


def test_the_real_probes_answer_and_do_not_raise() -> None:
    clock = Clock()
    clock.refresh()
    assert clock.quality in (SYNCED, UNSYNCED)


def test_the_kernels_bound_is_read_at_its_right_place() -> None:
    raw = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None).adjtimex(raw)
    _, _, _, maxerror = struct.unpack_from("@Illl", raw.raw)
    assert kernel_synced() is (None if state < 0 else maxerror < 16_000_000)


@pytest.mark.skipif(
    platform.machine() not in ADJTIMEX, reason="the filter names system calls by this machine's numbers"
)
def test_a_sandbox_that_refuses_adjtimex_is_no_answer_and_no_crash() -> None:
    program = REFUSE_ADJTIMEX.format(calls=ADJTIMEX[platform.machine()]) + (
        "from gateway.clock import kernel_synced\nassert kernel_synced() is None\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_a_python_without_ctypes_is_no_answer_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert kernel_synced() is None


def test_ctypes_is_not_imported_before_the_kernel_is_asked() -> None:
    program = "import sys, gateway.clock; raise SystemExit('ctypes' in sys.modules or 'subprocess' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0.0, True), (60.0, True), (TIMESYNC_STALE_S, True), (TIMESYNC_STALE_S + 1, None), (-3600.0, None)],
)
def test_timesyncds_stamp_says_yes_while_it_is_fresh(age: float, expected: bool | None, tmp_path: Path) -> None:
    stamp = tmp_path / "synchronized"
    stamp.touch()
    os.utime(stamp, (1_000_000.0, 1_000_000.0))
    assert TimesyncStamp(stamp, wall=lambda: 1_000_000.0 + age)() is expected


def test_without_a_stamp_timesyncd_says_nothing(tmp_path: Path) -> None:
    assert TimesyncStamp(tmp_path / "synchronized")() is None


@pytest.mark.parametrize("moved_s", [-7200.0, -600.0, 600.0])
def test_a_stamp_that_only_a_moved_clock_makes_fresh_says_nothing(moved_s: float, tmp_path: Path) -> None:
    """Set back by an hour or two, the old stamp would look fresh for an hour, an hour or two later."""
    hands, stamp = Hands(1000.0, NOON), tmp_path / "synchronized"
    stamp.touch()
    os.utime(stamp, (hands.wall(), hands.wall()))
    probe = TimesyncStamp(stamp, hands.wall, lambda: hands.mono)
    assert probe() is True
    hands.utc += timedelta(seconds=moved_s)
    for _ in range(24):
        assert probe() is None
        hands.pass_by(600.0)
    os.utime(stamp, (hands.wall(), hands.wall()))  # timesyncd has synchronized it since
    assert probe() is True


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('[ "$*" = "show --property=NTPSynchronized --value" ] && echo yes', True),
        ("echo no", False),
        ("echo 'Failed to connect to bus: Host is down' >&2; exit 1", None),
        ("echo maybe", None),
    ],
)
def test_timedatectl_is_taken_at_its_word(
    script: str, expected: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _timedatectl(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert timedate_synced(timeout_s=30) is expected


def test_a_timedatectl_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _timedatectl(tmp_path, "read line < fifo; echo yes")
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert timedate_synced(timeout_s=0.1) is None


def test_without_timedatectl_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert timedate_synced() is None


def _timedatectl(folder: Path, script: str) -> None:
    program = folder / "timedatectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
