"""deploy/ansible for real: Ansible brings three bare machines to what the inventory says, and stops at what is wrong.

Each room is a Debian of its own that Ansible enters by ssh; exam-1 has the broker, too. The rooms' scales are
simulated, on ptys, and nothing here has Bluetooth: their cuffs are shown as such.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from debian.tests.conftest import Machine

pytestmark = pytest.mark.timeout(1800)

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOMS = ("exam-1", "exam-2", "exam-3")
# Nothing but a shell in the machine: no network between it and here, and an sshd for this one connection.
HOST = """\
    {room}:
      ansible_user: root
      ansible_become: false
      ansible_ssh_private_key_file: {key}
      ansible_ssh_args: ""
      ansible_ssh_common_args: >-
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null
        -o ProxyCommand="nsenter --target {leader} --all /usr/sbin/sshd -i"
      sockets: {{A: {port}}}
"""

SILENCE = (
    "import os, time; _, port = os.openpty(); name = os.ttyname(port); os.chmod(name, 0o666); "
    'os.symlink(name, "/run/scale"); time.sleep(1e6)'
)


@dataclass
class Office:
    """IT's own machine: a copy of deploy/ with the site's secrets in it."""

    deploy: Path
    more: tuple[str, ...]

    def play(self, *more: str) -> tuple[int, str, dict[str, dict[str, int]]]:
        """Answer Ansible's exit status, what it said, and its counts by room."""
        command = ["ansible-playbook", "rooms.yaml", "--limit", ",".join(ROOMS), *self.more, *more]
        ansible = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"}
        environment = {**os.environ, **ansible, "LC_ALL": "C.UTF-8", "HOME": str(self.deploy)}
        played = subprocess.run(
            command,
            cwd=self.deploy / "ansible",
            env=environment,
            text=True,
            check=False,
            timeout=600,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        recap = re.findall(r"^(exam-\d+) +: (.*)$", played.stdout, re.MULTILINE)
        counts = {room: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", line)} for room, line in recap}
        return played.returncode, played.stdout, counts

    def change(self, file: str, there: str, here: str) -> None:
        path = self.deploy / "ansible" / file
        text = path.read_text()
        assert there in text
        path.write_text(text.replace(there, here))


@pytest.fixture
def office(rooms: list[Machine], package: Path, tmp_path: Path) -> Office:
    """Made as docs/fleet.md says; the rooms' keys are in ansible-vault."""
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, deploy)
    pki = deploy / "ansible/files/pki"
    pki.mkdir(parents=True)
    for words in (["ca"], ["broker", "127.0.0.1"], ["client", *ROOMS, "it"]):
        subprocess.run([deploy / "certificates", *words], cwd=pki, check=True, capture_output=True)
    password = tmp_path / "vault-password"
    password.write_text("of the site\n")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    hosts = ["rooms:", "  hosts:"]
    for name, machine in zip(ROOMS, rooms, strict=True):
        machine.run("apt-get install -y -qq openssh-server python3-apt && mkdir -p /run/sshd /root/.ssh")
        shutil.copy(f"{key}.pub", machine.root / "root/.ssh/authorized_keys")
        machine.run("chown -R root: /root/.ssh && chmod -R go= /root/.ssh")
        # A scale is plugged in, and says nothing yet: its simulation comes with the package.
        machine.run(f"systemd-run --unit=silence python3 -c '{SILENCE}'")
        machine.until("test -e /run/scale && echo there", "there")
        hosts.append(HOST.format(room=name, key=key, leader=machine.leader(), port="/run/scale"))
    _broker(rooms[0], deploy)
    for name in ROOMS:
        encrypt = ["ansible-vault", "encrypt", "--vault-password-file", str(password), str(pki / f"{name}.key")]
        subprocess.run(encrypt, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    inventory = tmp_path / "here.yaml"
    inventory.write_text("\n".join(hosts))
    given = ["-i", "inventory.yaml", "-i", str(inventory), "--vault-password-file", str(password)]
    given += ["-e", f"package={package}", "-e", "broker_url=mqtts://127.0.0.1:8883"]
    return Office(deploy, tuple(given))


def _broker(machine: Machine, deploy: Path) -> None:
    machine.run("apt-get install -y -qq mosquitto mosquitto-clients && install -d -o mosquitto /etc/mosquitto/vitals")
    folder = machine.root / "etc/mosquitto"
    for file in ("clinic-ca.pem", "broker.pem", "broker.key", "it.pem", "it.key"):
        shutil.copy(deploy / "ansible/files/pki" / file, folder / "vitals")
    shutil.copy(deploy / "mosquitto/vitals.acl", folder / "vitals")
    shutil.copy(deploy / "mosquitto/vitals.conf", folder / "conf.d")
    machine.run("chown -R mosquitto: /etc/mosquitto/vitals && chmod 600 /etc/mosquitto/vitals/vitals.acl")
    machine.run("systemctl restart mosquitto")


def _scale(machine: Machine) -> None:
    """The silent one is unplugged, and a scale at which people come and go is plugged into the same socket."""
    machine.run("systemctl stop silence")
    machine.run("systemd-run --unit=scale --uid=vitals-gateway vitals-gateway simulate health-o-meter-500kl")
    machine.until("journalctl -u scale -o cat | grep -c ^/dev/pts/", "1")
    machine.run("ln -sf $(journalctl -u scale -o cat | grep ^/dev/pts/) /run/scale")


def _status(machine: Machine) -> Any:
    return json.loads(machine.run("vitals-gateway status --json"))


def test_three_rooms_one_first_again_without_a_change_and_stopped_by_what_is_wrong(
    rooms: list[Machine], office: Office
) -> None:
    status, said, counts = office.play("-e", "ansible_ssh_common_args='-o ProxyCommand=false'")
    assert (status != 0, set(counts), counts["exam-1"]["unreachable"]) == (True, {"exam-1"}, 1), said

    status, said, counts = office.play()
    assert status == 0, said
    assert set(counts) == set(ROOMS)
    # Exam-1 was back before the others began.
    assert said.index("changed: [exam-2]") > said.index("TASK [The broker lets it write all its topics")
    for name, machine in zip(ROOMS, rooms, strict=True):
        _scale(machine)
        room = _status(machine)
        assert (room["gateway"]["id"], room["broker"]["connected_to"]) == (f"northside-{name}", "127.0.0.1:8883")
        modes = machine.run("stat -c '%n %a %U:%G' /etc/vitals-gateway/room.key /etc/vitals-gateway/gateway.yaml")
        assert modes.splitlines() == [
            "/etc/vitals-gateway/room.key 640 root:vitals-gateway",
            "/etc/vitals-gateway/gateway.yaml 640 root:vitals-gateway",
        ]
        # A reading arrives at the broker under the room's own name; held, where the simulated scale speaks of kg.
        tls = "--cafile vitals/clinic-ca.pem --cert vitals/it.pem --key vitals/it.key"
        listen = f"timeout 90 mosquitto_sub -h 127.0.0.1 -p 8883 {tls} -V 5 -C 1"
        reading = rooms[0].run(f"cd /etc/mosquitto && {listen} -t vitals/v1/northside/{name}/test/+")
        assert json.loads(reading)["room"] == name

    status, said, counts = office.play()
    assert (status, {room: one["changed"] for room, one in counts.items()}) == (0, dict.fromkeys(ROOMS, 0)), said

    # A change that is right is taken up; one that is not stops at the first room, which goes on as it was.
    office.change("group_vars/rooms.yaml", "timezone: America/Chicago", "timezone: America/New_York")
    before = [_status(machine)["gateway"] for machine in rooms]
    status, said, counts = office.play()
    assert status == 0, said
    assert [one["changed"] > 0 for one in counts.values()] == [True] * 3
    after = [_status(machine)["gateway"] for machine in rooms]
    assert all(new["config_hash"] != old["config_hash"] for new, old in zip(after, before, strict=True))

    office.change("inventory.yaml", "model: health-o-meter-500kl", "model: health-o-meter-500k")
    status, said, counts = office.play()
    assert status != 0
    assert "health-o-meter-500k" in said
    assert (counts["exam-1"]["failed"], set(counts)) == (1, {"exam-1"})
    for machine, was in zip(rooms, after, strict=True):
        machine.until("systemctl is-active vitals-gateway", "active")
        assert _status(machine)["gateway"]["config_hash"] == was["config_hash"]
        machine.run("vitals-gateway check /etc/vitals-gateway/gateway.yaml")
