"""The package in a Debian of its own, with systemd and without a network, from installation to the last trace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from debian.tests.conftest import Machine

pytestmark = pytest.mark.timeout(600)

PI = Path(__file__).parents[2] / "deploy/pi"
DATABASES = Path(__file__).parents[2] / "tests/gateway/databases"
OUTBOX = "/var/lib/vitals-gateway/outbox.db"
NEXT_READING = "timeout 90 mosquitto_sub -h 127.0.0.1 -V 5 -C 1 -t 'vitals/v1/northside/exam-3/test/#'"
YAML = """\
site: northside
room: exam-3
timezone: America/Chicago
broker: {url: "mqtt://127.0.0.1:1883"}
outbox: {path: /var/lib/vitals-gateway/outbox.db}
devices:
  - {id: scale, model: health-o-meter-500kl, port: PORT}
"""

# In a mount namespace of its own: a /sys that has this port and nothing else.
_UDEV = """\
unshare --mount sh -ec '
mount -t tmpfs none /sys
port=/sys/devices/usb1/1-1/1-1:1.0/{name}/tty/{name}
mkdir -p $port /sys/class/tty
ln -s /sys/class/tty $port/subsystem
ln -s $port /sys/class/tty/{name}
printf "MAJOR=188\\nMINOR=0\\nDEVNAME={name}\\n" >$port/uevent
SYSTEMD_DEVICE_VERIFY_SYSFS=0 SYSTEMD_LOG_LEVEL=debug udevadm test --action=add $port
' 2>&1"""


def test_lintian_finds_nothing_that_is_not_explained(package: Path) -> None:
    command = ["lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", "--allow-root", str(package)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


def test_installed_it_waits_politely(machine: Machine) -> None:
    said = machine.run("dpkg -i /packages/this.deb")
    assert "the service waits for /etc/vitals-gateway/gateway.yaml" in said
    assert machine.run("systemctl is-enabled vitals-gateway") == "enabled"
    assert [machine.unit(name) for name in ("ActiveState", "ConditionResult", "Result")] == [
        "inactive",
        "no",
        "success",
    ]
    modes = machine.run("stat -c '%n %a %U:%G' /etc/vitals-gateway /etc/credstore /opt/vitals-gateway")
    assert modes.splitlines() == [
        "/etc/vitals-gateway 750 root:vitals-gateway",
        "/etc/credstore 700 root:root",
        "/opt/vitals-gateway 755 root:root",
    ]
    for file in ("udev/rules.d/60-vitals-gateway.rules", "modules-load.d/vitals-gateway.conf"):
        machine.run(f"test -f /usr/lib/{file}")
    assert machine.run("dpkg --verify vitals-gateway") == ""
    # As postinst says it; an example names ports that are not there, and is right all the same.
    machine.run(
        "cp /opt/vitals-gateway/share/vitals-gateway/config/gateway.example.yaml /etc/vitals-gateway/gateway.yaml"
    )
    assert "Traceback" not in machine.run("vitals-gateway check /etc/vitals-gateway/gateway.yaml", check=False)
    # Nothing was compiled or written beside the package's own files.
    assert machine.run("find /opt/vitals-gateway -newer /var/lib/dpkg/info/vitals-gateway.list -type f") == ""


def test_the_unit_is_the_one_that_was_tested(machine: Machine) -> None:
    machine.run("dpkg -i /packages/this.deb")
    assert machine.run("systemd-analyze verify --man=no vitals-gateway.service") == ""
    machine.run("systemd-analyze security --threshold=15 --no-pager vitals-gateway.service")


@pytest.mark.parametrize("name", ["ttyUSB0", "ttyUSB17", "ttyACM0"])
def test_an_adapters_port_becomes_the_groups(machine: Machine, name: str) -> None:
    """udev's own reading of all rules, for an adapter that is only described: no kernel here has one to plug in."""
    machine.run("dpkg -i /packages/this.deb")
    said = machine.run(_UDEV.format(name=name))
    ours = [line for line in said.splitlines() if "60-vitals-gateway.rules:" in line]
    assert [line for line in ours if "nvalid" in line or "gnoring" in line] == []
    group = machine.run("getent group vitals-gateway").split(":")[2]
    assert f"GROUP {group}" in said
    assert "MODE 0660" in said
    assert "ID_MM_PORT_IGNORE=1" in said


def test_a_port_that_is_no_adapters_is_left_alone(machine: Machine) -> None:
    machine.run("dpkg -i /packages/this.deb")
    said = machine.run(_UDEV.format(name="ttyS0"))
    group = machine.run("getent group dialout").split(":")[2]
    assert f"GROUP {group}" in said
    assert "ID_MM_PORT_IGNORE" not in said


def test_the_settings_for_a_card_are_taken_and_without_its_partition_the_outbox_is_not_made(machine: Machine) -> None:
    machine.run("dpkg -i /packages/this.deb && mkdir -p /var/log/journal")
    for file in PI.glob("*.conf"):
        (place,) = re.findall(r"^# (/etc/\S+/" + re.escape(file.name) + r")\b", file.read_text(), re.MULTILINE)
        target = machine.root / place.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    machine.run("rm -rf /var/log/journal/*")
    machine.shut_down()
    machine.boot()
    assert machine.run("systemctl show -P RuntimeWatchdogUSec") == "14s"
    assert machine.run("systemd-analyze verify --man=no vitals-gateway.service") == ""
    machine.run("journalctl --sync; test -n \"$(find /run/log/journal -name '*.journal')\"")
    assert machine.run("find /var/log/journal -name '*.journal'") == ""
    _configure(machine)
    machine.run("systemctl start vitals-gateway", check=False)
    assert (machine.unit("ActiveState"), machine.unit("AssertResult")) == ("inactive", "no")
    machine.run(f"! test -e {OUTBOX}")
    machine.run("mkdir -p /var/lib/vitals-gateway && mount -t tmpfs none /var/lib/vitals-gateway")
    machine.run("systemctl start vitals-gateway")
    assert machine.unit("ActiveState") == "active"
    machine.run(f"test -e {OUTBOX}")


def test_a_switched_off_service_stays_off_when_updated(machine: Machine) -> None:
    machine.run("dpkg -i /packages/this.deb && systemctl disable vitals-gateway && dpkg -i /packages/next.deb")
    assert machine.run("systemctl is-enabled vitals-gateway", check=False) == "disabled"


def test_the_bill_of_materials_names_each_library_that_is_there(machine: Machine) -> None:
    machine.run("dpkg -i /packages/this.deb")
    bill = json.loads(machine.run("cat /usr/share/doc/vitals-gateway/sbom.cdx.json"))
    named = {f"{one['name']} {one['version']}" for one in [bill["metadata"]["component"], *bill["components"]]}
    script = (
        "import re; from importlib.metadata import distributions\n"
        "for d in distributions(): print(re.sub('[-_.]+', '-', d.metadata['Name']).lower(), d.version)"
    )
    assert named == set(machine.run(f'/opt/vitals-gateway/bin/python3 -c "{script}"').splitlines())


def test_from_installation_to_the_broker_updated_downgraded_removed_purged(machine: Machine) -> None:
    machine.run("apt-get install -y /packages/this.deb")
    _configure(machine)
    machine.run("systemctl start vitals-gateway")
    assert machine.unit("ActiveState") == "active"
    _is_in_its_sandbox(machine)
    reading = json.loads(machine.run(NEXT_READING))
    assert reading["schema"] == "vitals.reading/1"
    assert reading["mode"] != "real"
    assert machine.run("stat -c '%U %a' /var/lib/vitals-gateway " + OUTBOX).split() == [
        "vitals-gateway",
        "700",
        "vitals-gateway",
        "600",
    ]
    _is_reloaded(machine)
    this_schema, pid, yaml = _schema(machine), machine.unit("MainPID"), machine.run("md5sum /etc/vitals-gateway/*")
    kept = _identities(machine)
    assert kept

    machine.run("apt-get install -y /packages/next.deb")
    machine.until("systemctl is-active vitals-gateway", "active")
    assert machine.unit("MainPID") != pid
    assert _schema(machine) == this_schema + 1
    assert kept <= _identities(machine)
    assert machine.run("md5sum /etc/vitals-gateway/*") == yaml
    kept = _identities(machine)

    # Back again: refused in words, by systemd too, and nothing of the outbox is touched.
    machine.run("systemctl stop vitals-gateway")
    kept, before = _identities(machine), machine.run("md5sum " + OUTBOX)
    assert "newer vitals-gateway" not in machine.log()
    machine.run("apt-get install -y --allow-downgrades /packages/this.deb")
    machine.until("systemctl is-failed vitals-gateway", "failed")
    assert machine.unit("ExecMainStatus") == "78"
    assert machine.unit("NRestarts") == "0"
    assert "was written by a newer vitals-gateway" in machine.log()
    assert machine.run("md5sum " + OUTBOX) == before
    assert _identities(machine) == kept

    # The newer one again, as the words say: it goes on by itself.
    machine.run("apt-get install -y /packages/next.deb")
    machine.until("systemctl is-active vitals-gateway", "active")
    machine.run(NEXT_READING)
    assert kept < _identities(machine)

    machine.run("apt-get remove -y vitals-gateway")
    assert machine.run("systemctl is-active vitals-gateway", check=False) == "inactive"
    machine.run(f"test -f {OUTBOX} && test -f /etc/vitals-gateway/gateway.yaml && ! test -e /opt/vitals-gateway")
    machine.run("echo secret >/etc/credstore/mqtt-password")
    said = machine.run("apt-get purge -y vitals-gateway")
    assert "/etc/credstore/mqtt-password is left" in said
    left = machine.run(
        "find / -xdev -ipath '*vitals-gateway*' ! -path '/root/*' ! -path '/var/log/*' ! -path '/packages/*'"
    )
    assert left == ""
    assert "vitals-gateway" in machine.run("getent passwd vitals-gateway")  # its number is not given to anybody else


def test_an_outbox_of_the_first_schema_is_taken_over_and_it_starts_at_boot(machine: Machine) -> None:
    machine.run("dpkg -i /packages/this.deb")
    _configure(machine)
    state = machine.root / "var/lib/vitals-gateway"
    state.mkdir(mode=0o700)
    shutil.copy(DATABASES / "outbox-schema-1.db", state / "outbox.db")
    machine.run("chown -R vitals-gateway: /var/lib/vitals-gateway")
    kept = _identities(machine)
    assert kept
    machine.shut_down()
    machine.boot()
    machine.until("systemctl is-active vitals-gateway", "active")
    assert _schema(machine) > 1
    assert kept <= _identities(machine)


def _is_reloaded(machine: Machine) -> None:
    """From inside the unit's sandbox; a bad file fails the reload and not the service."""
    file, pid = "/etc/vitals-gateway/gateway.yaml", machine.unit("MainPID")
    machine.run(f"cp -p {file} /root/good.yaml && echo 'rom: exam-3' >>{file}")
    machine.run("! systemctl reload vitals-gateway")
    assert "vitals-gateway: not reloaded: all runs on as before" in machine.log()
    assert [machine.unit(name) for name in ("ActiveState", "SubState", "MainPID")] == ["active", "running", pid]
    machine.run(f"cp -p /root/good.yaml {file} && echo 'publish_raw: true' >>{file}")
    machine.run("systemctl reload vitals-gateway")
    assert "publish_raw: true" in machine.log()
    machine.run(f"cp -p /root/good.yaml {file} && systemctl reload vitals-gateway")
    assert [machine.unit(name) for name in ("ActiveState", "SubState", "MainPID")] == ["active", "running", pid]


def _is_in_its_sandbox(machine: Machine) -> None:
    """A container that cannot give it one would show less than a real machine: that must not look checked."""
    process = f"/proc/{machine.unit('MainPID')}"
    status = dict(line.split(":", 1) for line in machine.run(f"cat {process}/status").splitlines())
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip(), int(status["CapBnd"], 16)) == ("2", "1", 0)
    assert len(machine.run(f"cat {process}/uid_map").splitlines()) == 2  # root and the account
    root = machine.run(f"grep ' / ' {process}/mounts").split()
    assert "ro" in root[3].split(",")


def _configure(machine: Machine) -> None:
    """A broker, a simulated scale on a pty of the service's account, and the YAML. The unit must be let at ptys."""
    machine.run("systemctl restart mosquitto")
    machine.run("systemd-run --unit=scale -p User=vitals-gateway vitals-gateway simulate health-o-meter-500kl")
    machine.until("journalctl -u scale -o cat | grep -c ^/dev/pts/", "1")
    port = machine.run("journalctl -u scale -o cat | grep ^/dev/pts/")
    (machine.root / "etc/vitals-gateway/gateway.yaml").write_text(YAML.replace("PORT", port))
    drop_in = "/run/systemd/system/vitals-gateway.service.d"
    machine.run(f"mkdir -p {drop_in} && printf '[Service]\\nDeviceAllow=char-pts rw\\n' >{drop_in}/ptys.conf")
    machine.run("systemctl daemon-reload")


def _ask(machine: Machine, query: str) -> list[str]:
    """Ask the outbox by SQLite alone. The file's own account: root would leave its log files behind as root's."""
    script = f"import sqlite3\nfor row in sqlite3.connect('{OUTBOX}').execute('{query}'): print(row[0])"
    return machine.run(f'setpriv --reuid vitals-gateway --clear-groups python3.11 -c "{script}"').splitlines()


def _schema(machine: Machine) -> int:
    return int(_ask(machine, "PRAGMA user_version")[0])


def _identities(machine: Machine) -> set[str]:
    return set(_ask(machine, "SELECT hex(id) FROM reading"))
