"""What doctor says of the service and of Bluetooth, case by case, where the case cannot be made for real here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from drivers.links.bluez_look import Bluetooth
from gateway import config, doctor, doctor_devices, machine, programs
from gateway.doctor import Patient

Said = list[tuple[str, str]]


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    """A room whose service runs as it should."""
    monkeypatch.setattr(programs, "said", lambda *_command, **_limit: None)
    file = tmp_path / "gateway.yaml"
    file.write_text(
        'site: northside\nroom: exam-3\nbroker: {url: "mqtt://127.0.0.1:1"}\noutbox: {path: outbox.db}\n'
        "devices: [{id: scale, model: and-standard-scale, port: /dev/null}]\n"
    )
    loaded = config.load(file)
    assert loaded.settings is not None
    told = {"id": "northside-exam-3", "version": version("vitals-gateway"), "started_at": "T", "clock": "synced"}
    told["config_hash"] = loaded.settings.config_hash
    return Patient(file, loaded, {"gateway": told, "account": {"unbalanced": []}})


def service(patient: Patient) -> Said:
    return [(finding.state, finding.code) for finding in doctor._service(patient)]


@pytest.mark.parametrize(
    ("told", "unbalanced", "expected"),
    [
        ({}, [], [("good", "")]),
        ({"config_hash": "0" * 12}, [], [("warning", "config_changed")]),
        ({"version": "0.0.9"}, [], [("warning", "version_changed")]),
        ({"id": "northside-exam-4", "config_hash": "0" * 12}, [], [("warning", "other_room")]),
        ({}, ["frames, and the rest: 2, 1"], [("bad", "does_not_add_up")]),
    ],
)
def test_a_service_that_runs(told: dict[str, str], unbalanced: list[str], expected: Said, patient: Patient) -> None:
    assert patient.status is not None
    status = {"gateway": {**patient.status["gateway"], **told}, "account": {"unbalanced": unbalanced}}
    assert service(replace(patient, status=status)) == expected


def test_a_service_that_does_not_answer_and_one_that_we_may_not_ask(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service(replace(patient, status=None, silence="nobody")) == [("bad", "service_down")]
    assert service(replace(patient, status=None, silence="not you", denied=True)) == [("warning", "service_not_asked")]
    monkeypatch.setattr(programs, "said", lambda *_command, **_limit: "ActiveState=failed\nResult=exit-code\n")
    (finding,) = doctor._service(replace(patient, status=None, silence="nobody"))
    assert finding.detail == "nobody; systemd says failed (exit-code)"


def test_another_rooms_service_is_asked_nothing_of_this_ones_devices(patient: Patient) -> None:
    assert patient.status is not None
    other = {"gateway": {**patient.status["gateway"], "id": "northside-exam-4"}, "account": {"unbalanced": []}}
    page = {check.name: check for check in doctor.checks(replace(patient, status=other))}
    assert [finding.check for finding in page["device"].look()] == ["device scale"], "looked at from outside"


WELL = Bluetooth({"hci0": True}, {})
Bluez = Callable[..., Said]


@pytest.fixture
def bluetooth(monkeypatch: pytest.MonkeyPatch) -> Bluez:
    def look(
        seen: Bluetooth = WELL,
        *,
        bluez: str | None = "bluetoothctl: 5.82",
        log: tuple[str, ...] = (),
        blocked: tuple[str, ...] = (),
        status: dict[str, Any] | None = None,
    ) -> Said:
        monkeypatch.setattr(doctor_devices, "_look", lambda: seen)
        monkeypatch.setattr(programs, "said", lambda *_command, **_limit: bluez)
        monkeypatch.setattr(programs, "kernel_log", lambda: list(log))
        monkeypatch.setattr(machine, "blocked_radios", lambda: list(blocked))
        return [(finding.state, finding.code) for finding in doctor_devices.bluetooth(status)]

    return look


def test_bluetooth(bluetooth: Bluez) -> None:
    assert bluetooth() == [("good", "")]
    assert bluetooth(bluez=None) == [("good", "")]
    assert bluetooth(bluez="bluetoothctl: 5.66") == [("good", "")]
    assert bluetooth(bluez="bluetoothctl: 5.65") == [("warning", "bluez_old"), ("good", "")]
    assert bluetooth(Bluetooth({}, {})) == [("bad", "no_adapter")]
    assert bluetooth(Bluetooth({"hci0": False}, {})) == [("bad", "adapter_off")]
    assert bluetooth(Bluetooth({"hci0": False, "hci1": True}, {})) == [("good", "")]
    off = Bluetooth({"hci0": False}, {})
    assert bluetooth(off, blocked=("hci0 (soft)",)) == [("bad", "radio_blocked"), ("bad", "adapter_off")]
    deaf = {"devices": {"cuff": {"reason": "radio_deaf"}}}
    assert bluetooth(status=deaf) == [("warning", "radio_deaf")]


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("bluetooth hci0: Direct firmware load for rtl_bt/rtl8821c_fw.bin failed with error -2", True),
        ("Bluetooth: hci0: RTL: firmware file rtl_bt/rtl8821c_fw.bin not found", True),
        ("Bluetooth: hci0: BCM: Patch brcm/BCM43430A1.hcd not found", True),
        ("brcmfmac mmc1:0001:1: Direct firmware load for brcm/brcmfmac43455-sdio.txt failed with error -2", False),
        ("Bluetooth: hci0: BCM43430A1 'brcm/BCM43430A1.hcd' Patch", False),
    ],
)
def test_firmware_as_the_kernel_says_it(line: str, missing: bool, bluetooth: Bluez) -> None:
    """Sources: brektrou/rtl8821CU issue 153, raspberrypi/linux issues 2415 and 4248 (of a Wi-Fi chip: expected)."""
    assert (("warning", "firmware_missing") in bluetooth(log=(line,))) == missing
