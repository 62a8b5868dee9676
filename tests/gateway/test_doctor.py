"""Doctor's page: its table in the docs, checks that hang or fail, the outbox's file, and what a bundle takes up."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway import bundle, config, database, doctor, doctor_devices, doctor_outbox
from gateway.doctor import Check
from gateway.findings import CASES, Finding, found, good
from gateway.settings import Settings
from gateway.store import Draft, Mark, Store

DOCS = Path(__file__).parents[2] / "docs" / "it.md"


# ---- the page --------------------------------------------------------------------------------------------------------


def test_all_that_doctor_can_say_stands_in_the_docs_and_nothing_else() -> None:
    page = DOCS.read_text(encoding="utf-8").split("## When something is red: doctor")[1].split("\n## ")[0]
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`" in line.split("|")[2]]
    assert rows == [f"| {case.check or 'any'} | `{code}` | {case.state} | {case.do} |" for code, case in CASES.items()]


def test_each_case_is_said_somewhere() -> None:
    package = Path(doctor.__file__).parent
    source = "".join(file.read_text() for file in package.glob("*.py") if file.name != "findings.py")
    for code in CASES:
        made = code.startswith("clock_") and 'f"clock_{quality}"' in source
        assert f'"{code}"' in source or made or code in doctor_devices._PORTS, code


def test_a_check_that_hangs_or_fails_does_not_stop_the_page() -> None:
    enough = threading.Event()

    def hang() -> list[Finding]:
        enough.wait(30.0)
        return []

    def fail() -> list[Finding]:
        raise ValueError("184.5 kg of somebody")

    page = doctor.examine(
        [
            Check("first", lambda: [good("first", "well")]),
            Check("stuck", hang, 0.1),
            Check("broken", fail),
            Check("last", lambda: [good("last", "well")]),
        ]
    )
    said = [(finding.check, finding.state, finding.code) for finding in page]
    enough.set()
    assert said == [
        ("first", "good", ""),
        ("stuck", "warning", "check_hangs"),
        ("broken", "warning", "check_failed"),
        ("last", "good", ""),
    ]


def test_a_defect_is_told_by_its_place_and_not_in_its_words() -> None:
    def fail() -> list[Finding]:
        raise ValueError("184.5 kg of somebody")

    (finding,) = doctor.examine([Check("broken", fail)])
    assert "ValueError" in finding.detail
    assert "184.5" not in finding.detail


def test_lines_come_as_they_are_known() -> None:
    enough = threading.Event()

    def late() -> list[Finding]:
        enough.wait(30.0)
        return [good("late", "well")]

    page = doctor.examine([Check("early", lambda: [good("early", "well")]), Check("late", late)])
    assert next(page).check == "early"
    enough.set()
    assert next(page).check == "late"


def test_a_line_is_fit_for_a_terminal() -> None:
    lines = found("broker_away", "\x1b[31mred\x07", of="").lines()
    assert lines[0].startswith("bad      broker         broker_away: \N{REPLACEMENT CHARACTER}[31mred")
    assert lines[1].strip().startswith("do: as it says")


# ---- the outbox's file -----------------------------------------------------------------------------------------------


def said(settings: Settings, status: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(finding.state, finding.code) for finding in doctor_outbox.outbox(settings, status)]


def fill(path: Path, rows: int) -> None:
    with closing(Store(path)) as store:
        drafts = [Draft(uuid4(), 1, "scale", "t/reading", lambda _, __: b"{}") for _ in range(rows)]
        kept = store.write(drafts, [])
        store.write([], [Mark(kept[0].sequence, "delivered", "success", "broker", 0.0)])


def test_an_outbox_that_no_service_has_open_is_counted_without_a_trace(settings: Settings) -> None:
    assert said(settings) == [("good", "")]  # not there yet
    fill(settings.outbox.path, 3)
    before = sorted(file.name for file in settings.outbox.path.parent.iterdir())
    content = settings.outbox.path.read_bytes()
    (finding,) = doctor_outbox.outbox(settings, None)
    assert (finding.state, finding.code) == ("good", "")
    assert finding.detail.startswith("1 delivered, 2 waiting; ")
    assert sorted(file.name for file in settings.outbox.path.parent.iterdir()) == before
    assert settings.outbox.path.read_bytes() == content


def test_after_a_kill_the_log_is_said_to_be_there_and_left_as_it_is(settings: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with closing(Store(elsewhere / "outbox.db")) as store:
        store.write([Draft(uuid4(), 1, "scale", "t/reading", lambda _, __: b"{}")], [])
        for name in ("outbox.db", "outbox.db-wal"):
            (tmp_path / name).write_bytes((elsewhere / name).read_bytes())
    log = (tmp_path / "outbox.db-wal").read_bytes()
    (finding,) = doctor_outbox.outbox(settings, None)
    assert f"and what is in {len(log)} bytes of its log" in finding.detail
    assert (tmp_path / "outbox.db-wal").read_bytes() == log
    assert not (tmp_path / "outbox.db-shm").exists(), "it would be root's"


@pytest.mark.parametrize("harm", ["empty", "no database", "cut", "newer"])
def test_an_outbox_that_is_not_well(harm: str, settings: Settings) -> None:
    path = settings.outbox.path
    fill(path, 200)
    if harm == "empty":
        path.write_bytes(b"")
    elif harm == "no database":
        path.write_bytes(b"x" * 8192)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:8192])
    else:
        data = bytearray(path.read_bytes())
        data[60:64] = (99).to_bytes(4, "big")  # PRAGMA user_version: SQLite database file format, 1.3
        path.write_bytes(data)
    assert said(settings) == [("bad", "outbox_newer" if harm == "newer" else "outbox_damaged")]


def test_a_glance_that_takes_too_long_ends_without_a_word_of_damage(settings: Settings) -> None:
    fill(settings.outbox.path, 5)
    seen = database.glance(settings.outbox.path, -1.0)
    assert seen.wrong is None


WELL: dict[str, Any] = {
    "depth": 0,
    "oldest_age_s": None,
    "parked": 0,
    "held_back": 0,
    "not_kept": 0,
    "trouble": None,
    "used_mb": 0.1,
    "max_mb": 512,
    "damaged": 0,
    "discarded": 0,
    "set_aside": [],
}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, [("good", "")]),
        ({"depth": 3, "oldest_age_s": 299.0}, [("good", "")]),
        ({"depth": 3, "oldest_age_s": 301.0}, [("warning", "outbox_waiting")]),
        ({"parked": 1}, [("warning", "outbox_parked")]),
        ({"trouble": "the outbox is nearly full"}, [("warning", "outbox_worry")]),
        ({"trouble": "it cannot be written", "held_back": 2}, [("bad", "outbox_trouble")]),
        ({"not_kept": 2}, [("bad", "outbox_trouble")]),
    ],
)
def test_an_outbox_as_the_service_says_it(
    told: dict[str, Any], expected: list[tuple[str, str]], settings: Settings
) -> None:
    assert said(settings, {"outbox": {**WELL, **told}}) == expected


# ---- devices ---------------------------------------------------------------------------------------------------------

DEVICE: dict[str, Any] = {
    "state": "online",
    "reason": None,
    "detail": "",
    "battery": None,
    "last_seen": None,
    "readings": 0,
    "held": 0,
    "last_held_reason": None,
    "also_claimed_by": [],
}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, [("good", "")]),
        ({"state": "unknown", "reason": "not_heard_yet"}, [("warning", "device_not_heard")]),
        ({"state": "offline", "reason": "unplugged", "detail": "plug it in"}, [("bad", "device_offline")]),
        ({"state": "offline", "reason": "port_absent"}, [("bad", "port_absent")]),
        ({"state": "offline", "reason": "port_busy"}, [("bad", "port_busy")]),
        ({"battery": 20}, [("good", ""), ("warning", "battery_low")]),
        ({"battery": 21}, [("good", "")]),
        ({"also_claimed_by": ["exam-4"]}, [("good", ""), ("bad", "claimed_twice")]),
    ],
)
def test_a_device_as_the_service_says_it(
    told: dict[str, Any], expected: list[tuple[str, str]], settings: Settings
) -> None:
    status = {"devices": {"scale": {**DEVICE, **told}}}
    page = list(doctor_devices.devices(settings, status))
    assert [(finding.state, finding.code) for finding in page] == expected
    assert {finding.check for finding in page} == {"device scale"}


def test_a_device_of_the_yaml_that_the_service_does_not_know_is_looked_at_from_outside(settings: Settings) -> None:
    page = list(doctor_devices.devices(settings, {"devices": {}}))
    assert len(page) == 1
    assert page[0].code in ("", "port_busy")  # /dev/null: others have it open


# ---- the bundle ------------------------------------------------------------------------------------------------------


def test_of_a_journal_only_our_own_lines_are_taken_and_of_a_traceback_its_places() -> None:
    trace = (
        r"Traceback (most recent call last):\n  File \"/opt/x/gateway/intake.py\", line 7, in take\n"
        r"    value = Decimal('184.5')\nValueError: 184.5 of Mrs. Example"
    ).replace(r"\"", '"')
    lines = [
        "T1 gateway.standing: scale: port_absent: it is not there",
        "T2 Mrs. Example is on the scale",
        "T3 paho.mqtt: 184.5",
        f"T4 gateway.service: outbox ended\\n{trace}",
        "T5 drivers.links.radio: nothing is heard",
    ]
    taken = list(bundle.journal_lines(lines))
    assert [line.split()[0] for line in taken] == ["T1", "T4", "T5"]
    assert "intake.py:7 take" in taken[1]
    assert "184.5" not in "".join(taken)
    assert "Example" not in "".join(taken)


def test_a_bundle_is_never_written_over_a_file_and_is_its_owners_alone(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    patient = doctor.Patient(file, config.load(file), None)
    path = bundle.write(tmp_path / "bundle.tar.gz", patient, [])
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    with pytest.raises(FileExistsError):
        bundle.write(path, patient, [])
    link = tmp_path / "link.tar.gz"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        bundle.write(link, patient, [])
    assert path.read_bytes() == content
    named = bundle.write(tmp_path, patient, [])
    assert named.parent == tmp_path
    assert named.name.startswith(f"vitals-gateway-support-{time.gmtime().tm_year}")


def test_of_a_bad_configuration_the_bundle_has_places_and_no_words(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("site: northside\nroom: exam-3\nMrs-Example: hunter2\noutbox: {keep_days: hunter2}\n")
    patient = doctor.Patient(file, config.load(file), None)
    page = list(doctor.examine(doctor.checks(patient)))
    assert page[0].code == "config_bad"
    text = "".join(text for _, text in bundle.members(patient, page))
    assert "line 3, column 1: error" in text
    assert "Example" not in text
    assert "hunter2" not in text
