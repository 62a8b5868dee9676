"""What discover prints is YAML that can be pasted, whatever devices say of themselves, and it decides for nobody."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.candidates import of_advertisement
from drivers.links.bluetooth import Advertised
from drivers.links.serial_ports import Holder, PortFacts, Usb
from drivers.models import LineSettings
from drivers.recognize import Verdict
from gateway.catalogue import data_folder, load_model, model_names
from gateway.config import load
from gateway.discovery_bluetooth import Overheard, RadioFinding
from gateway.discovery_report import Discovery
from gateway.discovery_serial import PortFinding
from gateway.settings import Device

MODELS = {name: load_model(name) for name in model_names()}
SOCKET = "/dev/serial/by-path/platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.{}:1.0-port0"
USUAL = LineSettings()
CUFF, NEIGHBOR, SCALE = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02", "C8:1E:8E:00:0C:01"


def spoke(driver: str, number: int = 1, line: LineSettings = USUAL, **more: Any) -> PortFinding:
    facts = PortFacts(f"/dev/ttyUSB{number}", by_path=SOCKET.format(number), driver="cp210x")
    verdicts = tuple(Verdict(name, 3, 90) for name in driver.split())
    return PortFinding(facts, facts.name, "recognized", line=line, verdicts=verdicts, seen=90, **more)


def heard(address: str, rssi: int, device: str | None = None, **said: Any) -> RadioFinding:
    whole = Advertised(address, said.pop("is_private", False), said.pop("bonded", False), rssi, **said)
    candidates = of_advertisement(
        MODELS, name=whole.name, services=whole.services, service_data=whole.service_data, makers=whole.makers
    )
    return RadioFinding(whole, candidates, device)


def discovery(*found: PortFinding | RadioFinding, **more: Any) -> Discovery:
    ports = [one for one in found if isinstance(one, PortFinding)]
    air = Overheard({one.heard.address: one for one in found if isinstance(one, RadioFinding)})
    return Discovery(MODELS, ports, air, **more)


def pasted(lines: list[str]) -> list[Device]:
    """What `check` makes of it, in the place of the example's devices. Only what names other files is warned of."""
    example = (data_folder() / "gateway.example.yaml").read_text(encoding="utf-8")
    head, _, rest = example.partition("devices:\n")
    tail = rest[rest.index("# ranges:") :]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.yaml"
        file.write_text(head + "\n".join(lines) + "\n\n" + tail, encoding="utf-8")
        loaded = load(file)
    assert loaded.settings is not None, [str(problem) for problem in loaded.problems]
    assert all("no such file" in problem.message for problem in loaded.problems), loaded.problems
    return list(loaded.settings.devices)


def printed(found: Discovery, *, everybody: bool = False) -> list[str]:
    return list(found.lines(everybody=everybody))


def text(found: Discovery) -> str:
    return re.sub(r"\n# +", " ", "\n".join(printed(found)))


@pytest.mark.parametrize("driver", sorted({row.driver for row in MODELS.values() if row.link == "serial"}))
def test_each_protocol_is_an_entry_that_check_takes(driver: str) -> None:
    found = discovery(spoke("masimo_ascii1", 2), spoke(driver))
    assert {entry.model for entry in found.entries()} <= {name for name, row in MODELS.items() if row.link == "serial"}
    devices = pasted(printed(found))
    assert SOCKET.format(2) in {device.port for device in devices}
    assert len(devices) == (1 if driver == "rice_lake_esc" else 2), "a unit is not guessed"


def test_a_line_other_than_the_models_own_stands_in_the_entry() -> None:
    line = LineSettings(baud=9600, data_bits=7, parity="even")
    (device,) = pasted(printed(discovery(spoke("and_scale", line=line))))
    assert device.line == line
    assert "serial:" not in "\n".join(printed(discovery(spoke("and_scale", line=MODELS["and-standard-scale"].line))))
    assert "serial:" not in "\n".join(printed(discovery(spoke("and_scale", line=USUAL, is_pty=True))))


def test_all_models_of_a_protocol_are_named_and_that_they_differ() -> None:
    shown = text(discovery(spoke("health_o_meter")))
    for name, row in MODELS.items():
        assert (name in shown) == (row.driver == "health_o_meter")
    assert "they differ in what makes a reading" in shown
    assert "they differ" not in text(discovery(spoke("masimo_ascii1")))


def test_frames_of_two_protocols_are_nobodys_choice() -> None:
    found = discovery(spoke("health_o_meter rice_lake_esc"))
    (entry,) = found.entries()
    assert not entry.ready
    assert "devices:" not in printed(found)
    assert "nobody can tell them apart" in text(found)


def test_a_scale_that_does_not_send_its_unit_waits_for_a_person_and_is_then_taken() -> None:
    found = discovery(spoke("health_o_meter rice_lake_esc", asked="rice-lake-140-10-7-esc"))
    lines = printed(found)
    assert "devices:" not in lines, "nothing to paste as it stands"
    begin = lines.index("# devices:")
    decided = [line.removeprefix("# ").replace("unit:  ", "unit: lb ") for line in lines[begin:]]
    (device,) = pasted(decided)
    assert (device.model_name, device.unit) == ("rice-lake-140-10-7-esc", "[lb_av]")


def test_what_was_asked_for_in_vain_is_not_what_is_told() -> None:
    (entry,) = discovery(spoke("masimo_ascii1", asked="rice-lake-140-10-7-esc")).entries()
    assert MODELS[entry.model].driver == "masimo_ascii1"


def test_the_nearest_of_a_kind_is_an_entry_and_a_weaker_one_a_question() -> None:
    cuffs = [
        heard(NEIGHBOR, -80, name="A&D_UA-651BLE_000002", services=("1810",)),
        heard(CUFF, -50, name="A&D_UA-651BLE_000001", services=("1810",)),
    ]
    found = discovery(
        *cuffs,
        heard(SCALE, -90, services=("181D",), service_data={"181D": bytes.fromhex("02a83e" + "b207010101000000")[:10]}),
    )
    ready = {entry.where: entry.ready for entry in found.entries()}
    assert ready[CUFF]
    assert not ready[NEIGHBOR]
    assert {device.address for device in pasted(printed(found))} >= {CUFF}
    assert NEIGHBOR not in {device.address for device in pasted(printed(found))}
    assert "is this one this room's" in text(found).lower()


def test_where_the_service_has_one_of_a_kind_another_is_a_question() -> None:
    neighbor = heard(NEIGHBOR, -40, name="A&D_UA-651BLE_000002", services=("1810",))
    assert [entry.ready for entry in discovery(neighbor).entries()] == [True]
    assert [entry.ready for entry in discovery(neighbor, used={"cuff": "omron-bp5150"}).entries()] == [False]
    assert [entry.ready for entry in discovery(neighbor, used={"cuff": "terumo-bp-500"}).entries()] == [True]


def test_an_address_that_changes_is_no_entry() -> None:
    found = discovery(heard("7A:1E:8E:00:00:01", -50, name="A&D_UA-651BLE_1", services=("1810",), is_private=True))
    assert [entry.ready for entry in found.entries()] == [False]
    assert "pair it first" in text(found)


def test_a_service_alone_is_a_question() -> None:
    found = discovery(heard(CUFF, -50, name="Nobody knows", services=("1810",)))
    assert [entry.ready for entry in found.entries()] == [False]
    assert "may be of a model that is not in the catalogue" in text(found)


def test_a_device_with_users_comes_with_the_lines_that_it_needs() -> None:
    found = discovery(heard(SCALE, -50, name="BF720", services=("181D",), makers=(0x0611,)))
    (device,) = pasted(printed(found))
    assert device.consent_file is not None


def test_what_the_running_service_has_is_told_and_not_offered_again() -> None:
    own = heard(CUFF, -50, "cuff", name="A&D_UA-651BLE_000001", services=("1810",))
    port = PortFinding(PortFacts("/dev/ttyUSB0"), "/dev/ttyUSB0", "ours", device="scale", detail="online")
    found = discovery(own, port, spoke("health_o_meter"), used={"cuff": "and-ua-651ble", "scale": "masimo-rad-8"})
    assert [entry.id for entry in found.entries()] == ["scale-2"], "ids of the service are not given again"
    assert "the running service has it as cuff" in text(found)
    assert "it is scale of the running service" in text(found)


def test_others_in_range_are_counted_and_shown_only_when_asked_for() -> None:
    found = discovery(heard("11:22:33:44:55:66", -40, name="[TV] Living room", services=("FEAF",)))
    assert "TV" not in "\n".join(printed(found))
    assert "TV" in "\n".join(printed(found, everybody=True))
    assert "1 in range, 0 of them medical" in text(found)
    assert found.members(everybody=False)["bluetooth"]["devices"] == []


def test_nothing_found_is_said_and_nothing_is_pasted() -> None:
    silent = PortFinding(PortFacts("/dev/ttyUSB0"), "/dev/ttyUSB0", "silent")
    lines = printed(discovery(silent))
    assert all(line.startswith("#") for line in lines)
    assert "nothing to paste" in lines[-1]
    assert "Step on the scale" in text(discovery(silent))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("held", "held by minicom (process 4711)"),
        ("console", "kernel's console"),
        ("failed", "may not be opened"),
        ("unreadable", "17 bytes came that no protocol explains"),
        ("waiting", "not listened to yet"),
    ],
)
def test_each_state_is_told_in_words(state: Any, words: str) -> None:
    facts = PortFacts("/dev/ttyUSB0", holders=(Holder(4711, "minicom"),))
    port = PortFinding(facts, facts.name, state, detail="/dev/ttyUSB0 may not be opened: …", seen=17)
    assert words in text(discovery(port))


hostile = st.text(max_size=80) | st.sampled_from(
    ["\x1b[2J", "\n- id: evil\n", "# x", "\u202eabc", "a: b", "'\"", "\r\n"]
)


@given(hostile, hostile, st.integers(-127, 20))
def test_whatever_a_device_calls_itself_what_is_printed_stays_yaml(name: str, word: str, rssi: int) -> None:
    cuff = heard(CUFF, rssi, name="A&D_UA-651BLE_" + name, services=("1810",))
    stranger = heard("C8:1E:8E:00:00:09", rssi, name=name, services=("1810", word))
    port = spoke("masimo_ascii1")
    facts = replace(port.facts, usb=Usb("10c4:ea60", name, word, name), holders=(Holder(1, word),))
    port = replace(port, facts=facts)
    held = PortFinding(replace(facts, device="/dev/ttyUSB9"), "/dev/ttyUSB9", "held")
    found = discovery(cuff, stranger, port, held)
    lines = printed(found, everybody=True)
    assert all(line.isprintable() for line in lines)
    assert {device.model_name for device in pasted(lines)} == {"and-ua-651ble", "masimo-rad-8"}
    json.dumps(found.members(everybody=True))


def test_what_was_weighed_is_nowhere() -> None:
    data = bytes.fromhex("22303eb207010107152a")
    found = discovery(heard(SCALE, -50, services=("181D",), service_data={"181D": data}))
    whole = "\n".join(printed(found, everybody=True)) + json.dumps(found.members(everybody=True)) + repr(found.air)
    assert data.hex() not in whole
    assert repr(data) not in whole
