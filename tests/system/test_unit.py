"""The unit and the files beside it, judged by systemd's own tools. Debian package: systemd."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from drivers.errors import LinkFault
from gateway.reading import ClockQuality

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "vitals-gateway.service"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Fails, not skips, where the tool is absent: what was not checked must not look checked."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _settings() -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in _lines(UNIT):
        key, equals, value = line.partition("=")
        if equals:
            settings.setdefault(key, []).append(value)
    return settings


def test_the_sandbox_is_as_tight_as_it_was() -> None:
    result = _run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", UNIT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    # verify looks for the program too; in a checkout it is not at its place.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/vitals-gateway/bin/vitals-gateway", "/bin/true"))
    result = _run("systemd-analyze", "verify", "--man=no", unit)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "ExecStart=/opt/vitals-gateway/bin/vitals-gateway run --config /etc/vitals-gateway/gateway.yaml",
        "ConditionPathExists=/etc/vitals-gateway/gateway.yaml",
        "RestartPreventExitStatus=78",
        "Restart=on-failure",
        "StartLimitIntervalSec=0",
        "WatchdogSec=30",
        "TimeoutStopSec=10",
        "User=vitals-gateway",
        "Group=vitals-gateway",
        "StateDirectory=vitals-gateway",
        "StateDirectoryMode=0700",
        "RuntimeDirectory=vitals-gateway",
        "RuntimeDirectoryMode=0750",
        "Environment=BOOT_ID=%b",
        "LimitCORE=0",
        "SystemCallErrorNumber=EPERM",
        "DeviceAllow=char-ttyUSB rw",
        "DeviceAllow=char-ttyACM rw",
    ],
)
def test_what_others_rely_on_is_there(line: str) -> None:
    key, _, value = line.partition("=")
    assert value in _settings()[key]


def test_the_environment_keeps_other_peoples_modules_out() -> None:
    words = " ".join(_settings()["Environment"]).split()
    assert "PYTHONSAFEPATH=1" in words


def test_the_broker_is_not_denied_and_its_password_may_be_absent() -> None:
    settings = _settings()
    assert "IPAddressDeny" not in settings
    # With a path an absent password would keep the service from starting: systemd.exec(5).
    assert settings["LoadCredential"] == ["mqtt-password"]


def test_bluetooth_is_waited_for_and_not_required() -> None:
    settings = _settings()
    assert {"bluetooth.service", "dbus.service"} <= set(" ".join(settings["After"]).split())
    for stronger in ("Requires", "Requisite", "BindsTo", "PartOf", "Wants", "Upholds"):
        assert stronger not in settings
    # Over the system bus, and by nothing else.
    assert settings["RestrictAddressFamilies"] == ["AF_INET AF_INET6 AF_UNIX"]
    assert "InaccessiblePaths" not in settings


def test_the_account_of_the_unit_is_the_one_that_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    result = _run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "vitals-gateway.sysusers.conf")
    assert result.returncode == 0, result.stderr
    (account,) = (tmp_path / "etc/passwd").read_text().splitlines()
    name, _, uid, gid, _, home, shell = account.split(":")
    assert [name] == _settings()["User"]
    assert uid != "0"
    assert (home, shell) == ("/var/lib/vitals-gateway", "/usr/sbin/nologin")
    assert f"{_settings()['Group'][0]}:x:{gid}:" in (tmp_path / "etc/group").read_text().splitlines()


@pytest.mark.parametrize(("folder", "mode"), [("etc/vitals-gateway", 0o750), ("etc/credstore", 0o700)])
def test_the_configuration_is_nobody_elses_to_read(folder: str, mode: int, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    _run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "vitals-gateway.sysusers.conf")
    result = _run("systemd-tmpfiles", f"--root={tmp_path}", "--create", SYSTEMD / "vitals-gateway.tmpfiles.conf")
    made = (tmp_path / folder).stat()
    assert stat.S_IMODE(made.st_mode) == mode, result.stderr


def test_the_ports_of_the_unit_are_given_to_its_group() -> None:
    allowed = {value.removeprefix("char-").split()[0] for value in _settings()["DeviceAllow"]}
    rules = _lines(SYSTEMD / "60-vitals-gateway.rules")
    pairs = [dict(re.findall(r'([A-Z]+(?:\{\w+\})?)(?:==|=)"([^"]*)"(?:, |$)', rule)) for rule in rules]
    assert {pair["KERNEL"].removesuffix("[0-9]*") for pair in pairs} == allowed
    for rule, pair in zip(rules, pairs, strict=True):
        assert rule.count('"') == 2 * len(pair)
        assert pair["SUBSYSTEM"] == "tty"
        assert pair["MODE"] == "0660"
        assert [pair["GROUP"]] == _settings()["Group"]


def test_the_drivers_behind_the_allowed_names_are_loaded_at_boot() -> None:
    modules = _lines(SYSTEMD / "vitals-gateway.modules-load.conf")
    assert modules == ["usbserial", "ftdi_sio", "cp210x", "ch341", "pl2303", "cdc_acm"]


def test_each_file_is_explained() -> None:
    readme = (SYSTEMD / "README.md").read_text()
    assert [path.name for path in SYSTEMD.iterdir() if path.name != "README.md" and path.name not in readme] == []


def test_it_is_told_each_reason_and_each_exit_status() -> None:
    told = (SYSTEMD.parent / "docs/it.md").read_text()
    rows = set(re.findall(r"^\| `?(\w+)`? \|", told, re.MULTILINE))
    assert {str(fault) for fault in LinkFault} | {str(quality) for quality in ClockQuality} <= rows
    assert {"online", "offline", "unknown", "0", "1", "78"} <= rows
