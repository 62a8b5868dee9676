"""Which serial ports this machine has, what is plugged in behind each, and who holds it: read from sysfs and procfs.

1. Nothing is opened and nothing is sent.
2. A port of the 8250 driver with no chip behind it (type 0, unknown) is none: most PCs show four, or thirty-two.
3. What an adapter says of itself (maker, product, serial number) is device text: it is handed on as it is, bounded, and
   whoever shows it makes it printable.
4. Who holds a port is known as far as this process may look: of other users' processes only root sees it.

Sources: Linux Documentation/ABI/testing/sysfs-tty (type), sysfs-bus-usb; proc_pid_fd(5); systemd 60-serial.rules
(by-path, by-id).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Linux, Documentation/admin-guide/devices.txt: the slaves of Unix98 pseudo terminals.
PTY_MAJORS = range(136, 144)

_NAME = re.compile(r"tty(?:USB|ACM|AMA|S)[0-9]+")
_TEXT_LIMIT = 64
_NO_CHIP = "0"
_LAYERS = {"port", "ctrl", "serial-base"}  # of Linux 6.5 and later, between a tty and its true driver


@dataclass(frozen=True, slots=True)
class Usb:
    """The USB adapter of a port: `id` is vendor:product in hex, the rest its own words, not to be trusted."""

    id: str
    maker: str = ""
    product: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has the port open. `name` is the process's own word for itself."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One serial port. `device` is its name in /dev, `by_path` and `by_id` udev's lasting names for it.

    `is_console`: the kernel writes its messages there. `allowed`: this process may read and write it.
    """

    device: str
    by_path: str = ""
    by_id: str = ""
    driver: str = ""
    usb: Usb | None = None
    holders: tuple[Holder, ...] = ()
    is_console: bool = False
    allowed: bool = True

    @property
    def name(self) -> str:
        """The name that lasts: the USB socket's, else the adapter's, else the bare one."""
        return self.by_path or self.by_id or self.device


def ports(root: Path = Path("/")) -> list[PortFacts]:
    """Answer the serial ports that are real, by name; `root` is where /sys, /dev and /proc stand."""
    folder = root / "sys/class/tty"
    consoles = _text(folder / "console/active").split()
    names = (entry.name for entry in _entries(folder) if _NAME.fullmatch(entry.name) and _is_real(entry))
    found = [_facts(root, name, name in consoles) for name in names]
    return sorted(found, key=lambda port: [int(s) if s.isdigit() else s for s in re.split(r"([0-9]+)", port.device)])


def port(path: str, known: list[PortFacts]) -> PortFacts:
    """Answer the port that somebody named by `path`: one of `known`, or what can be said of another device."""
    device = os.path.realpath(path)
    for facts in known:
        if facts.device == device:
            return facts
    return PortFacts(device=path, holders=_holders(Path("/"), device), allowed=_allowed(device))


def _facts(root: Path, name: str, is_console: bool) -> PortFacts:
    device = root / "dev" / name
    tty = (root / "sys/class/tty" / name / "device").resolve()
    return PortFacts(
        device=str(device),
        by_path=_link(root / "dev/serial/by-path", device),
        by_id=_link(root / "dev/serial/by-id", device),
        driver=_driver(tty),
        usb=_usb(tty),
        holders=_holders(root, str(device)),
        is_console=is_console,
        allowed=_allowed(str(device)),
    )


def _is_real(entry: Path) -> bool:
    return (entry / "device").exists() and _text(entry / "type") != _NO_CHIP


def _driver(tty: Path) -> str:
    for folder in (tty, *tty.parents):
        driver = (folder / "driver").resolve().name if (folder / "driver").exists() else ""
        if driver and driver not in _LAYERS:
            return driver
        if (folder / "idVendor").exists():
            break
    return ""


def _usb(tty: Path) -> Usb | None:
    for folder in (tty, *tty.parents):
        if (folder / "idVendor").is_file():
            vendor, product = _text(folder / "idVendor"), _text(folder / "idProduct")
            words = (_text(folder / name) for name in ("manufacturer", "product", "serial"))
            return Usb(f"{vendor}:{product}", *words)
    return None


def _link(folder: Path, device: Path) -> str:
    """Answer udev's name for a port; of two, the one without the USB version in it, which older systems have too."""
    names = [str(entry) for entry in _entries(folder) if entry.resolve() == device.resolve()]
    return min(names, key=lambda name: ("-usbv" in name, name), default="")


def _holders(root: Path, device: str) -> tuple[Holder, ...]:
    """Answer who has `device` open, this process left out."""
    try:
        node = os.stat(device)  # noqa: PTH116 - a device node
    except OSError:
        return ()
    found = []
    for process in _entries(root / "proc"):
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        if any(_leads_to(entry, node) for entry in _entries(process / "fd")):
            found.append(Holder(int(process.name), _text(process / "comm")))
    return tuple(sorted(found, key=lambda holder: holder.pid))


def _leads_to(link: Path, node: os.stat_result) -> bool:
    """Whether a process's descriptor is this port, by whatever name: a container has names of its own."""
    try:
        if "/dev/" not in os.readlink(link):  # noqa: PTH115 - most are files and sockets, whose stat may be slow
            return False
        open_node = link.stat()
    except OSError:
        return False
    if stat.S_ISCHR(node.st_mode) and os.major(node.st_rdev) not in PTY_MAJORS:
        return open_node.st_rdev == node.st_rdev
    return os.path.samestat(open_node, node)  # each container has its own pty 0


def _allowed(device: str) -> bool:
    return os.access(device, os.R_OK | os.W_OK)


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        return  # not there, gone meanwhile, or not ours to look into


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_TEXT_LIMIT).decode("utf-8", "replace").strip()
    except OSError:
        return ""
