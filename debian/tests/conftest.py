"""A Debian of its own, with systemd as its process 1 and no network: debootstrap, an overlay, systemd-nspawn. As root.

The bare system is made once for each release and kept in ~/.cache/vitals-gateway; each machine is an overlay on it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the package depends on, a broker, and what reads it. What the package forgets to ask for is missing.
BARE = "systemd,systemd-sysv,udev,dbus,kmod,{python},mosquitto,mosquitto-clients"


@dataclass
class Machine:
    """A Debian that has booted. `run` is a shell in it, as root."""

    root: Path
    nspawn: subprocess.Popen[bytes] | None = None

    def run(self, script: str, *, check: bool = True) -> str:
        """Answer what the script printed, both streams. Fails where it fails, unless told not to."""
        command = ["nsenter", "--target", str(self._leader()), "--all", "/bin/sh", "-c", script]
        result = subprocess.run(
            command,
            text=True,
            check=False,
            timeout=120,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if check:
            assert result.returncode == 0, f"{script}\nexit {result.returncode}\n{result.stdout}"
        return result.stdout.strip()

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
        command = ["systemd-nspawn", "--quiet", "--boot", "--private-network", "--register=no", *unit, "-D"]
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

    def _leader(self) -> int:
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
def bare(package: Path) -> Path:
    """A bare Debian of the release that the package is for."""
    assert os.geteuid() == 0, "mounts and namespaces need root"
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    depends = subprocess.run(["dpkg-deb", "--field", package, "Depends"], check=True, capture_output=True, text=True)
    (python,) = [word for word in depends.stdout.strip().split(", ") if word.startswith("python3")]
    folder = Path.home() / ".cache/vitals-gateway" / f"{release['VERSION_CODENAME']}-{python}"
    if not folder.exists():
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(parents=True, exist_ok=True)
        packages = "--include=" + BARE.format(python=python)
        subprocess.run(["debootstrap", "--variant=minbase", packages, release["VERSION_CODENAME"], making], check=True)
        making.rename(folder)
    return folder


@pytest.fixture
def machine(bare: Path, package: Path, next_package: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine that has just booted, with both packages in /packages and no network."""
    root, upper, work = (tmp_path / name for name in ("root", "upper", "work"))
    for folder in (root, upper, work):
        folder.mkdir()
    layers = f"lowerdir={bare},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    try:
        (root / "packages").mkdir()
        shutil.copy(package, root / "packages/this.deb")
        shutil.copy(next_package, root / "packages/next.deb")
        (root / "etc/mosquitto/conf.d/test.conf").write_text("listener 1883 127.0.0.1\nallow_anonymous true\n")
        booted = Machine(root)
        try:
            booted.boot()
            yield booted
        finally:
            booted.shut_down()
    finally:
        subprocess.run(["umount", root], check=True)


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
