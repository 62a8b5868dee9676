"""The machine, as files that are made for it say: each state of power, clock, disk and serial conflicts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from gateway import machine
from gateway.findings import Finding
from gateway.settings import Settings

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def put(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def said(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.state, finding.code) for finding in findings]


@pytest.mark.parametrize(
    ("files", "log", "expected"),
    [
        ({}, [], ("good", "")),
        ({"sys/class/hwmon/hwmon1/name": "rpi_volt", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0"}, [], ("good", "")),
        (
            {"sys/class/hwmon/hwmon1/name": "rpi_volt", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1"},
            [],
            ("bad", "undervoltage_now"),
        ),
        (
            {"sys/class/hwmon/hwmon1/name": "rpi_volt", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0"},
            ["hwmon hwmon1: Undervoltage detected!", "hwmon hwmon1: Voltage normalised"],
            ("warning", "undervoltage_before"),
        ),
        ({THROTTLED: "0"}, [], ("good", "")),
        ({THROTTLED: "50005"}, [], ("bad", "undervoltage_now")),
        ({THROTTLED: "50000"}, [], ("warning", "undervoltage_before")),
        ({THROTTLED: "80008"}, [], ("good", "")),  # its heat, which has a line of its own
        ({THROTTLED: "what"}, [], ("good", "")),
    ],
)
def test_power(files: dict[str, str], log: list[str], expected: tuple[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        put(tmp_path, name, text)
    assert said(machine.power(log, tmp_path)) == [expected]


def test_heat(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "79900")
    assert said(machine.power([], tmp_path)) == [("good", "")]
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "80000")
    assert said(machine.power([], tmp_path)) == [("bad", "too_hot"), ("good", "")]


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        ("synced", ("good", "")),
        ("holdover", ("warning", "clock_holdover")),
        ("unsynced", ("bad", "clock_unsynced")),
    ],
)
def test_clock_as_the_service_says_it(quality: str, expected: tuple[str, str]) -> None:
    assert said(machine.clock("America/Chicago", quality, 1_000.0, 2_000.0)) == [expected]


def test_a_clock_before_this_program_was_made_is_in_the_past_whatever_anybody_says() -> None:
    assert said(machine.clock(None, "synced", 2_000.0, 1_999.0)) == [("bad", "clock_past")]


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        ((None, None, None), ("warning", "clock_not_known")),
        ((None, True, False), ("good", "")),
        ((False, True, True), ("bad", "clock_unsynced")),
    ],
)
def test_clock_without_a_service(
    probes: tuple[bool | None, ...], expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, stamp, timedate = probes
    monkeypatch.setattr(machine, "kernel_synced", lambda: kernel)
    monkeypatch.setattr(machine, "TimesyncStamp", lambda: lambda: stamp)
    monkeypatch.setattr(machine, "timedate_synced", lambda: timedate)
    assert said(machine.clock("UTC", None, 1_000.0, 2_000.0)) == [expected]


@pytest.mark.parametrize(
    ("free_mb", "inodes", "flags", "expected"),
    [
        (5_000, 100_000, 0, [("good", "")]),
        (400, 100_000, 0, [("warning", "disk_small")]),
        (49, 100_000, 0, [("bad", "disk_full")]),
        (5_000, 999, 0, [("bad", "no_inodes")]),
        (5_000, 100_000, os.ST_RDONLY, [("bad", "disk_read_only")]),
    ],
)
def test_disk(
    free_mb: int,
    inodes: int,
    flags: int,
    expected: list[tuple[str, str]],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = (1_000_000, 1_000_000, 8_000, free_mb, free_mb, 200_000, inodes, inodes, flags, 255)
    monkeypatch.setattr(os, "statvfs", lambda _folder: os.statvfs_result(size))
    assert said(machine.disk(settings)) == expected


def test_the_outbox_counts_towards_what_it_may_take(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (1_000_000, 1_000_000, 8_000, 400, 400, 200_000, 100_000, 100_000, 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda _folder: os.statvfs_result(size))
    with settings.outbox.path.open("wb") as outbox:
        outbox.truncate(200_000_000)  # of max_mb 512; no block of it is on the disk
    assert said(machine.disk(settings)) == [("good", "")]


def test_no_folder_for_the_outbox(settings: Settings) -> None:
    settings.outbox.path.parent.joinpath("gateway.yaml").unlink()
    settings.outbox.path.parent.rmdir()
    assert said(machine.disk(settings)) == [("bad", "no_folder")]


def test_programs_that_take_serial_ports(tmp_path: Path) -> None:
    assert said(machine.serial_conflicts(tmp_path)) == [("good", "")]
    put(tmp_path, "proc/17/comm", "ModemManager")
    assert said(machine.serial_conflicts(tmp_path)) == [("warning", "modem_manager")]
    put(tmp_path, "usr/lib/udev/rules.d/60-vitals-gateway.rules", "")
    assert said(machine.serial_conflicts(tmp_path)) == [("good", "")]
    put(tmp_path, "usr/lib/udev/rules.d/85-brltty.rules", "")
    (finding,) = machine.serial_conflicts(tmp_path)
    assert "brltty is installed" in finding.detail
    put(tmp_path, "proc/18/comm", "brltty")
    (finding,) = machine.serial_conflicts(tmp_path)
    assert (finding.code, finding.do) == ("brltty", "apt remove brltty, then unplug the adapter and plug it in again")
    assert "brltty is running" in finding.detail


def test_a_radio_that_is_blocked(tmp_path: Path) -> None:
    assert machine.blocked_radios(tmp_path) == []
    for number, kind, soft, hard in ((0, "wlan", "1", "1"), (1, "bluetooth", "1", "0"), (2, "bluetooth", "0", "0")):
        for name, text in (("type", kind), ("name", f"hci{number}"), ("soft", soft), ("hard", hard)):
            put(tmp_path, f"sys/class/rfkill/rfkill{number}/{name}", text)
    assert machine.blocked_radios(tmp_path) == ["hci1 (soft)"]


def test_who_has_a_port_open() -> None:
    main, other = os.openpty()
    path = Path(os.ttyname(other))
    assert f"({os.getpid()})" in "".join(machine.holders(path))
    os.close(other)
    assert machine.holders(path) == []  # nor those who have one of this name in another file system
    os.close(main)
    with pytest.raises(FileNotFoundError):
        machine.holders(path)
