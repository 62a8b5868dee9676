"""What is said of the serial ports, on a small tree of sysfs as a Pi and a PC show it, and of who holds a real pty."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from drivers.links.serial_ports import Holder, PortFacts, Usb, port, ports

PCI = "sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb1/1-1"


def file(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A CP210x scale, a CDC cuff, the Pi's UART (Linux 6.6), a console, two 8250 ghosts, and no serial ports."""
    drivers = tmp_path / "sys/bus/drivers"
    for name in ("usb", "cp210x", "cdc_acm", "uart-pl011", "port", "serial8250"):
        (drivers / name).mkdir(parents=True)
    tty = tmp_path / "sys/class/tty"

    def usb(number: int, vendor: str, product: str, words: tuple[str, str, str]) -> Path:
        folder = tmp_path / f"{PCI}/1-1.{number}"
        file(folder / "idVendor", vendor + "\n")
        file(folder / "idProduct", product + "\n")
        for name, word in zip(("manufacturer", "product", "serial"), words, strict=True):
            if word:
                file(folder / name, word + "\n")
        link(folder / "driver", drivers / "usb")
        return folder

    scale = usb(2, "10c4", "ea60", ("Silicon Labs", "CP2102 USB to UART Bridge Controller", "0001"))
    (scale / "1-1.2:1.0/ttyUSB0").mkdir(parents=True)
    link(scale / "1-1.2:1.0/ttyUSB0/driver", drivers / "cp210x")
    link(tty / "ttyUSB0/device", scale / "1-1.2:1.0/ttyUSB0")
    cuff = usb(3, "0590", "00d4", ("OMRON\x1b[2J", "x" * 500, ""))
    (cuff / "1-1.3:1.0").mkdir()
    link(cuff / "1-1.3:1.0/driver", drivers / "cdc_acm")
    link(tty / "ttyACM0/device", cuff / "1-1.3:1.0")
    own = tmp_path / "sys/devices/platform/soc/fe201000.serial"
    (own / "fe201000.serial:0/fe201000.serial:0.0").mkdir(parents=True)
    link(own / "driver", drivers / "uart-pl011")
    link(own / "fe201000.serial:0/fe201000.serial:0.0/driver", drivers / "port")
    link(tty / "ttyAMA0/device", own / "fe201000.serial:0/fe201000.serial:0.0")
    ghosts = tmp_path / "sys/devices/platform/serial8250"
    ghosts.mkdir(parents=True)
    link(ghosts / "driver", drivers / "serial8250")
    for number, kind in enumerate(("4", "0", "0")):
        link(tty / f"ttyS{number}/device", ghosts)
        file(tty / f"ttyS{number}/type", kind + "\n")
    file(tty / "console/active", "tty0 ttyS0\n")
    for name in ("tty1", "ptmx", "ttyprintk"):
        (tty / name).mkdir()
    for name in ("ttyUSB0", "ttyACM0", "ttyAMA0", "ttyS0"):
        file(tmp_path / "dev" / name)
    for name in ("usbv2-0:1.2:1.0-port0", "usb-0:1.2:1.0-port0"):
        link(tmp_path / f"dev/serial/by-path/platform-fd500000.pcie-pci-0000:01:00.0-{name}", Path("../../ttyUSB0"))
    link(tmp_path / "dev/serial/by-id/usb-Silicon_Labs_CP2102_0001-if00-port0", Path("../../ttyUSB0"))
    return tmp_path


def test_each_real_port_is_told_with_what_is_behind_it(machine: Path) -> None:
    found = {Path(facts.device).name: facts for facts in ports(machine)}
    assert list(found) == ["ttyACM0", "ttyAMA0", "ttyS0", "ttyUSB0"], "ghosts and terminals are none"
    scale = found["ttyUSB0"]
    assert scale.usb == Usb("10c4:ea60", "Silicon Labs", "CP2102 USB to UART Bridge Controller", "0001")
    assert scale.driver == "cp210x"
    assert scale.by_path.endswith("/dev/serial/by-path/platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.2:1.0-port0")
    assert scale.by_id.endswith("usb-Silicon_Labs_CP2102_0001-if00-port0")
    assert scale.name == scale.by_path
    assert (found["ttyAMA0"].driver, found["ttyAMA0"].usb) == ("uart-pl011", None)
    assert found["ttyAMA0"].name == found["ttyAMA0"].device
    assert [name for name, facts in found.items() if facts.is_console] == ["ttyS0"]


def test_a_devices_own_words_are_bounded(machine: Path) -> None:
    (cuff,) = [facts for facts in ports(machine) if facts.device.endswith("ttyACM0")]
    assert cuff.usb is not None
    assert len(cuff.usb.product) == 64
    assert cuff.usb.maker == "OMRON\x1b[2J", "as it is: who shows it makes it printable"


def test_who_holds_a_port_is_told_as_far_as_it_can_be_seen(machine: Path) -> None:
    for process, name in ((4711, "minicom"), (os.getpid(), "ourselves"), (815, "gone")):
        link(machine / f"proc/{process}/fd/3", machine / "dev/ttyUSB0")
        file(machine / f"proc/{process}/comm", name + "\n")
    link(machine / "proc/17/fd/4", Path("/dev/null"))
    held = {Path(facts.device).name: facts.holders for facts in ports(machine)}
    assert held["ttyUSB0"] == (Holder(815, "gone"), Holder(4711, "minicom"))
    assert held["ttyACM0"] == ()


def test_a_pty_is_held_by_who_has_it_open_and_not_by_one_who_has_another() -> None:
    ptys = [os.openpty(), os.openpty()]
    held, other = (os.ttyname(slave) for _, slave in ptys)
    with subprocess.Popen(["sleep", "60"], stdin=ptys[0][1]) as sleeper:
        try:
            assert port(held, []).holders == (Holder(sleeper.pid, "sleep"),)
            assert port(other, []).holders == ()
        finally:
            sleeper.kill()
    for descriptor in (*ptys[0], *ptys[1]):
        os.close(descriptor)


def test_a_machine_without_ports_has_none(tmp_path: Path) -> None:
    assert ports(tmp_path) == []


def test_a_port_that_is_named_is_the_one_that_is_known(machine: Path) -> None:
    known = ports(machine)
    by_id = next(iter((machine / "dev/serial/by-id").iterdir()))
    assert port(str(by_id), known).device.endswith("ttyUSB0")


def test_a_port_that_is_no_adapter_is_what_it_is_called() -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    assert port(name, []) == PortFacts(device=name)
    os.close(master)
    os.close(slave)
    assert not port("/dev/no-such-port", []).allowed
