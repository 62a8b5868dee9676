"""How the machine is, as its files say: power, clock, disk, and programs that take serial ports. For `doctor`.

`root` stands for /, so that a test can show another machine. What is not there is not measured, and said so.

Sources: Linux drivers/hwmon/raspberrypi-hwmon.c (it asks every 2 s and clears the firmware's memory as it does, so its
alarm is of now, and what was before is in the kernel's log alone); raspberrypi/linux drivers/firmware/raspberrypi.c
(get_throttled, in hex: bit 0 now, bit 16 since the start); Documentation/ABI/stable/sysfs-class-rfkill.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from gateway import database
from gateway.clock import TimesyncStamp, judge, kernel_synced, timedate_synced
from gateway.findings import Finding, found, good
from gateway.reading import ClockQuality
from gateway.settings import Settings

_ROOT = Path("/")
_NOW, _BEFORE = 1 << 0, 1 << 16
_UNDERVOLTAGE = re.compile(r"Under-?voltage detected!")
PTY_MAJORS = range(136, 144)  # Linux Documentation/admin-guide/devices.txt
TOO_HOT = 80.0  # °C, from which a Raspberry Pi slows itself down
MEGABYTE = 1_000_000
LEAST_FREE_BYTES, LEAST_INODES = 50 * MEGABYTE, 1_000
# brltty's udev rules take USB adapters of these kinds for Braille displays; the kernel says then: "usbfs: interface 0
# claimed by ch341 while 'brltty' sets config #1". ModemManager: ID_MM_PORT_IGNORE, in our own rules.
_RULES = ("usr/lib/udev/rules.d", "lib/udev/rules.d", "etc/udev/rules.d")
_OUR_RULES = "60-vitals-gateway.rules"


def power(kernel_log: Iterable[str], root: Path = _ROOT) -> Iterator[Finding]:
    """Say whether a Raspberry Pi gets enough, and is not too hot."""
    flags = _throttled(root)
    heat = _text(root / "sys/class/thermal/thermal_zone0/temp") or ""
    degrees = int(heat) / 1000 if heat.isdigit() else None
    warm = "" if degrees is None else f"; {degrees:.0f} °C"
    if degrees is not None and degrees >= TOO_HOT:
        yield found("too_hot", f"{degrees:.0f} °C")
    if flags is None:
        yield good("power", f"no Raspberry Pi, or its firmware says nothing: nothing to measure{warm}")
    elif flags & _NOW:
        yield found("undervoltage_now", f"the voltage is too low now{warm}")
    elif flags & _BEFORE or any(_UNDERVOLTAGE.search(line) for line in kernel_log):
        yield found("undervoltage_before", f"the voltage was too low since the start of the machine{warm}")
    else:
        yield good("power", f"the voltage is and was enough{warm}")


def _throttled(root: Path) -> int | None:
    """Answer _NOW and _BEFORE, None without a word. The older file comes last: it complains to the kernel's log."""
    for sensor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if _text(sensor / "name") == "rpi_volt" and (alarm := _text(sensor / "in0_lcrit_alarm")) is not None:
            return _NOW if alarm == "1" else 0
    said = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    try:
        return None if said is None else int(said, 16) & (_NOW | _BEFORE)
    except ValueError:
        return None


def clock(zone: str | None, quality: str | None, made_at: float, now: float | None = None) -> Iterator[Finding]:
    """Say whether the time can be believed. `quality`: what the running service says; `made_at`: this program's."""
    shown = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    words = f"{shown:%Y-%m-%d %H:%M:%S} UTC" + (f"; devices' clocks are read as {zone}" if zone else "")
    if shown.timestamp() < made_at:
        yield found("clock_past", f"{words}; this program is of {datetime.fromtimestamp(made_at, UTC):%Y-%m-%d}")
        return
    if quality is None:
        answers = (probe() for probe in (kernel_synced, TimesyncStamp(), timedate_synced))
        synced = next((answer for answer in answers if answer is not None), None)
        quality = None if synced is None else judge(synced, ClockQuality.UNSYNCED).value
    if quality is None:
        yield found("clock_not_known", words)
    elif quality == ClockQuality.SYNCED:
        yield good("clock", f"synchronized; {words}")
    else:
        yield found(f"clock_{quality}", f"{quality}; {words}")


def disk(settings: Settings) -> Iterator[Finding]:
    """Say whether the outbox has room where it stands."""
    path, folder = settings.outbox.path, settings.outbox.path.parent
    try:
        free = os.statvfs(folder)
    except OSError as error:
        yield found("no_folder", f"{folder}: {error.strerror}")
        return
    room, total = free.f_bavail * free.f_frsize, free.f_blocks * free.f_frsize
    words = f"{folder}: {room // MEGABYTE} MB free of {total // MEGABYTE}"
    used = sum(_size(file) for file in (path, database.with_suffix(path, "-wal")))
    more = max(0, settings.outbox.max_mb * MEGABYTE - used)
    troubles = [
        *([found("disk_read_only", f"{folder} is on a file system that is read-only")] if _is_read_only(free) else []),
        *([found("disk_full", words)] if room < LEAST_FREE_BYTES else []),
    ]
    if LEAST_FREE_BYTES <= room < more:
        troubles.append(found("disk_small", f"{words}; max_mb allows {more // MEGABYTE} more"))
    if free.f_files > 0 and free.f_favail < LEAST_INODES:
        troubles.append(found("no_inodes", f"{folder}: room for {free.f_favail} files"))
    yield from troubles or [good("disk", words)]


def _is_read_only(free: os.statvfs_result) -> bool:
    return bool(free.f_flag & os.ST_RDONLY)


def serial_conflicts(root: Path = _ROOT) -> Iterator[Finding]:
    """Say which programs of this machine are known to take serial adapters away."""
    running = set(_programs(root))
    rules = [file.name for folder in _RULES for file in _names(root / folder)]
    troubles = []
    if "brltty" in running or any("brltty" in name for name in rules):
        what = "is running" if "brltty" in running else "is installed"
        troubles.append(
            found("brltty", f"brltty {what}: it takes some USB adapters (CH340, CP210x) for Braille displays")
        )
    if "ModemManager" in running and _OUR_RULES not in rules:
        words = "ModemManager is running, and nothing keeps it from asking a scale whether it is a modem"
        troubles.append(found("modem_manager", words))
    yield from troubles or [good("serial", "no program is known here that takes serial adapters away")]


def blocked_radios(root: Path = _ROOT) -> list[str]:
    """Answer what rfkill says of Bluetooth: `hci0 (soft)`, `hci0 (hard)`."""
    answer = []
    for switch in sorted((root / "sys/class/rfkill").glob("rfkill*")):
        if _text(switch / "type") == "bluetooth":
            ways = [way for way in ("soft", "hard") if _text(switch / way) == "1"]
            answer += [f"{_text(switch / 'name')} ({' and '.join(ways)})"] if ways else []
    return answer


def holders(path: Path, root: Path = _ROOT) -> list[str]:
    """Answer which programs have this port open, as far as may be seen: `name (pid)`. Raises OSError.

    By its device number, and for a pty by its file system, too: each container has a /dev/pts/0 of its own.
    """
    port = path.stat()
    answer = []
    for process in sorted(_processes(root), key=lambda folder: int(folder.name)):
        with suppress(OSError):  # it is gone, or another's
            if any(_is_port(file, port) for file in (process / "fd").iterdir()):
                answer.append(f"{_text(process / 'comm') or '?'} ({process.name})")
    return answer


def _processes(root: Path) -> Iterable[Path]:
    return (folder for folder in _names(root / "proc") if folder.name.isdigit())


def _programs(root: Path) -> Iterator[str]:
    for folder in _processes(root):
        yield _text(folder / "comm") or ""


def _names(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_port(descriptor: Path, port: os.stat_result) -> bool:
    try:
        if descriptor.readlink().parts[:2] != ("/", "dev"):  # a file on a server that is gone would hang
            return False
        node = descriptor.stat()
    except OSError:
        return False
    return node.st_rdev == port.st_rdev and (os.major(port.st_rdev) not in PTY_MAJORS or node.st_dev == port.st_dev)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
