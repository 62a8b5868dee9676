"""A Debian of its own, with systemd as its process 1 and no network: debootstrap, an overlay, systemd-nspawn. As root.

The bare system is made once for each release and kept in ~/.cache/vitals-gateway; each machine is an overlay on it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the package depends on, a broker, and what reads it. What the package forgets to ask for is missing.
BARE = "systemd,systemd-sysv,udev,dbus,kmod,{python},mosquitto,mosquitto-clients"
# What docs/it.md installs beside the package, and what a machine has that Ansible gets into.
FETCHED = ("mosquitto", "mosquitto-clients", "openssh-server", "python3-apt")


@dataclass
class Machine:
    """A Debian that has booted. `run` is a shell in it, as root."""

    root: Path
    nspawn: subprocess.Popen[bytes] | None = None
    network_of: Machine | None = None  # else one of its own, with loopback alone

    def run(self, script: str, *, check: bool = True) -> str:
        """Answer what the script printed, both streams. Fails where it fails, unless told not to."""
        status, said = self.type(script)
        if check:
            assert status == 0, f"{script}\nexit {status}\n{said}"
        return said.strip()

    def type(self, script: str, typed: str = "") -> tuple[int, str]:
        """Answer its exit status and what it printed, both streams. `typed`: its standard input."""
        command = ["nsenter", "--target", str(self.leader()), "--all", "/bin/sh", "-c", f"cd /root\n{script}"]
        result = subprocess.run(
            command,
            text=True,
            check=False,
            timeout=120,
            env=_ENVIRONMENT,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return result.returncode, result.stdout

    def until(self, script: str, wanted: str, limit: float = 60.0) -> None:
        """Wait until the script prints that; fail after `limit` seconds."""
        end = time.monotonic() + limit
        while (said := self.run(script, check=False)) != wanted:
            assert time.monotonic() < end, f"{script}\nsays {said!r}, not {wanted!r}\n{self.log()}"
            time.sleep(0.2)

    def boot(self) -> None:
        """Boot it, and wait until it has."""
        # Where systemd is not the host's own process 1, there is nobody to ask for a unit.
        unit = [] if Path("/run/systemd/system").exists() else ["--keep-unit"]
        network = "--private-network"
        if self.network_of is not None:
            network = f"--network-namespace-path=/proc/{self.network_of.leader()}/ns/net"
        command = ["systemd-nspawn", "--quiet", "--boot", network, "--register=no", *unit, "-D"]
        with self.root.with_name("console").open("ab") as console:
            self.nspawn = subprocess.Popen(
                [*command, str(self.root)], stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        wait(lambda: self.run("systemctl is-system-running", check=False) in {"running", "degraded"})

    def shut_down(self) -> None:
        """Shut it down in good order. What is on its disk stays."""
        if self.nspawn is not None:
            self.nspawn.send_signal(signal.SIGTERM)
            self.nspawn.wait(60)

    def log(self) -> str:
        return self.run("journalctl -u vitals-gateway --no-pager -o cat", check=False)

    def unit(self, name: str) -> str:
        return self.run(f"systemctl show vitals-gateway -P {name}")

    def leader(self) -> int:
        """The number, here, of its process 1."""
        assert self.nspawn is not None
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        return int(children.read_text().split()[0])


_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


@pytest.fixture(scope="session")
def package() -> Path:
    """What `make deb` made."""
    found = sorted((ROOT / "dist").glob("vitals-gateway_*.deb"), key=lambda path: path.stat().st_mtime)
    assert found, "make deb"
    return found[-1]


@pytest.fixture(scope="session")
def next_package(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version after it: the same program, and a database with one more step."""
    tree = tmp_path_factory.mktemp("next") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+next", control.read_text()))
    (site,) = tree.glob("opt/vitals-gateway/lib/python3*/site-packages")
    (site / "gateway/migrations/9999_next.sql").write_text("CREATE TABLE next_version (a TEXT) STRICT;\n")
    made = tree.with_name("next.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, made], check=True)
    return made


@pytest.fixture(scope="session")
def depends(package: Path) -> str:
    """What the package asks Debian for."""
    said = subprocess.run(["dpkg-deb", "--field", package, "Depends"], check=True, capture_output=True, text=True)
    return said.stdout.strip()


@pytest.fixture(scope="session")
def bare(depends: str) -> Path:
    """A bare Debian of the release that the package is for."""
    (python,) = [word for word in depends.split(", ") if word.startswith("python3")]
    return _debian(python, BARE.format(python=python))


@pytest.fixture(scope="session")
def barest(package: Path, depends: str) -> Path:
    """A Debian with nothing but what boots. What apt will be asked for lies fetched: its machine has no network."""

    def fetch(root: Path) -> None:
        shutil.copy(package, root / "this.deb")
        command = ["chroot", str(root), "apt-get", "install", "-qq", "--download-only", "/this.deb", *FETCHED]
        subprocess.run(command, check=True, env=_ENVIRONMENT)
        (root / "this.deb").unlink()

    named = hashlib.sha256(" ".join((depends, *FETCHED)).encode()).hexdigest()[:8]
    return _debian(f"nothing-{named}", "systemd,systemd-sysv,udev,dbus", fetch)


@pytest.fixture
def machine(bare: Path, package: Path, next_package: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine that has just booted, with both packages in /packages and no network."""
    with _overlaid(bare, tmp_path) as root:
        (root / "packages").mkdir()
        shutil.copy(package, root / "packages/this.deb")
        shutil.copy(next_package, root / "packages/next.deb")
        (root / "etc/mosquitto/conf.d/test.conf").write_text("listener 1883 127.0.0.1\nallow_anonymous true\n")
        with _booted(root) as booted:
            yield booted


@pytest.fixture
def bare_machine(barest: Path, package: Path, tmp_path: Path) -> Iterator[Machine]:
    """A bare machine that has just booted, with the package in /root, as somebody has carried it there."""
    with _overlaid(barest, tmp_path) as root:
        shutil.copy(package, root / "root")
        with _booted(root) as booted:
            yield booted


@pytest.fixture
def rooms(barest: Path, tmp_path: Path) -> Iterator[list[Machine]]:
    """Three bare machines on one network that is theirs alone. What apt is asked for lies fetched."""
    with ExitStack() as stack:
        machines: list[Machine] = []
        for name in ("exam-1", "exam-2", "exam-3"):
            root = stack.enter_context(_overlaid(barest, tmp_path / name))
            machines.append(stack.enter_context(_booted(root, *machines[:1])))
        yield machines


def _debian(name: str, include: str, more: Callable[[Path], None] = lambda _root: None) -> Path:
    assert os.geteuid() == 0, "mounts and namespaces need root"
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    folder = Path.home() / ".cache/vitals-gateway" / f"{release['VERSION_CODENAME']}-{name}"
    if not folder.exists():
        making = folder.with_name(f"{folder.name}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={include}", release["VERSION_CODENAME"], str(making)]
        subprocess.run(command, check=True)
        more(making)
        making.rename(folder)
    return folder


@contextmanager
def _overlaid(lower: Path, folder: Path) -> Iterator[Path]:
    root, upper, work = (folder / name for name in ("root", "upper", "work"))
    for one in (root, upper, work):
        one.mkdir(parents=True)
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", root], check=True)


@contextmanager
def _booted(root: Path, network_of: Machine | None = None) -> Iterator[Machine]:
    machine = Machine(root, network_of=network_of)
    try:
        machine.boot()
        yield machine
    finally:
        machine.shut_down()


def wait(holds: Callable[[], bool], limit: float = 60.0) -> None:
    """Wait until it holds. While a machine boots there may be no process 1, or no files of it."""
    end = time.monotonic() + limit
    while True:
        try:
            if holds():
                return
        except (OSError, IndexError):
            pass
        assert time.monotonic() < end, "it has not booted: see the file `console` beside its root"
        time.sleep(0.2)
