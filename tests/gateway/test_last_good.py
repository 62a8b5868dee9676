"""The last good configuration: what is remembered, when it is used, and when it is not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import boot, catalogue, config, last_good
from gateway.in_force import InForce
from gateway.problems import Problem

ROOM = """\
include: site/site.yaml
room: exam-3
broker: {url: mqtts://broker.clinic.example, username: exam-3, password_file: pw}
outbox: {path: outbox.db}
ranges: limits.yaml
devices:
  - {id: scale, model: a-scale, port: /dev/serial/by-path/x}
  - {id: cuff, model: and-ua-651ble, address: "C8:1E:8E:00:00:01"}
"""
SITE = "site: northside\ntimezone: America/Chicago\nmodels_dir: models\n"
PASSWORD = "hunter2, the broker's"
Choose = Callable[[], tuple[boot.Start | None, list[str]]]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    for folder in ("state", "site", "site/models"):
        (tmp_path / folder).mkdir()
    (tmp_path / "room.yaml").write_text(ROOM)
    (tmp_path / "site" / "site.yaml").write_text(SITE)
    packaged = catalogue.data_folder()
    row = (packaged / "devices" / "and-standard-scale.yaml").read_text(encoding="utf-8")
    (tmp_path / "site" / "models" / "a-scale.yaml").write_text(row, encoding="utf-8")
    (tmp_path / "limits.yaml").write_bytes((packaged / "ranges.yaml").read_bytes())
    (tmp_path / "pw").write_text(PASSWORD)
    return tmp_path


@pytest.fixture
def choose(room: Path) -> Choose:
    def answer() -> tuple[boot.Start | None, list[str]]:
        told: list[Problem] = []
        return boot.choose(room / "room.yaml", told.append), [str(problem) for problem in told]

    return answer


def remembered(room: Path) -> config.Loaded:
    loaded = config.load(room / "room.yaml")
    assert loaded.settings is not None, loaded.problems
    last_good.remember(room / "room.yaml", loaded)
    return loaded


def kept_file(room: Path) -> Path:
    (file,) = (room / "state").iterdir()
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("room.yaml", ROOM.replace("room:", "rom:")),
        ("room.yaml", ""),
        ("room.yaml", ROOM.replace("  - {id", "\t- {id")),
        ("site/site.yaml", SITE.replace("Chicago", "Nowhere")),
        ("site/site.yaml", None),
        ("site/models/a-scale.yaml", "maker: 1\n"),
        ("site/models/a-scale.yaml", None),
        ("limits.yaml", "kinds: {}\n"),
    ],
)
def test_where_a_file_is_bad_the_last_good_one_is_used_whole(
    room: Path, choose: Choose, name: str, content: str | None
) -> None:
    good = remembered(room).settings
    assert good is not None
    if content is None:
        (room / name).unlink()
    else:
        (room / name).write_text(content)
    start, told = choose()
    assert start is not None
    assert start.settings == good
    assert start.settings.limits == good.limits is not None
    assert told
    first = next(line for line in told if "warning" not in line)
    assert start.in_force == InForce(start.settings.config_hash, "last_good", len(told), first)
    assert start.settings.broker.password_file == room / "pw"
    last_good.remember(room / "room.yaml", start.loaded)
    again, _ = choose()
    assert again is not None
    assert again.settings == good


def test_all_files_gone_bad_at_once_and_their_folders_away(room: Path, choose: Choose) -> None:
    good = remembered(room).settings
    for name in ("site/models/a-scale.yaml", "site/site.yaml", "limits.yaml"):
        (room / name).unlink()
    (room / "site" / "models").rmdir()
    (room / "site").rmdir()
    start, _ = choose()
    assert start is not None
    assert start.settings == good


def test_a_good_file_is_used_and_says_so(room: Path, choose: Choose) -> None:
    remembered(room)
    (room / "room.yaml").write_text(ROOM.replace("exam-3\n", "exam-4\n"))
    start, told = choose()
    assert start is not None
    assert (told, start.settings.room) == ([], "exam-4")
    assert start.in_force == InForce(start.settings.config_hash)


def test_a_file_that_is_gone_is_a_decision(room: Path, choose: Choose, caplog: pytest.LogCaptureFixture) -> None:
    remembered(room)
    (room / "room.yaml").unlink()
    start, (told,) = choose()
    assert start is None
    assert "there is no such file" in told
    assert "nothing is started" in caplog.text
    (room / "room.yaml").symlink_to(room / "nowhere")  # it is there, and broken
    assert choose()[0] is not None


@pytest.mark.parametrize(
    "text",
    [
        ROOM.replace("exam-3\n", "exam-4\n").replace("path:", "paht:"),
        ROOM.replace("exam-3\n", "exam-4  # moved\n").replace("  - {id", "\t- {id"),
        ROOM.replace("room: exam-3\n", "room: 'exam-4'\r\n").replace("{id: scale", "{id: scale: x"),
        "site: southside\n" + ROOM.replace("path:", "paht:"),
    ],
)
def test_a_gateway_that_was_moved_does_not_speak_for_its_old_room(
    room: Path, choose: Choose, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    remembered(room)
    (room / "room.yaml").write_bytes(text.encode())
    assert choose()[0] is None
    assert "nothing is started" in caplog.text


def test_a_scale_that_does_not_send_its_unit_is_not_read_in_the_old_one(room: Path, choose: Choose) -> None:
    row = room / "site" / "models" / "a-scale.yaml"
    row.write_text(row.read_text(encoding="utf-8") + "unit: pinned\n", encoding="utf-8")
    (room / "room.yaml").write_text(ROOM.replace("by-path/x", "by-path/x, unit: lb"))
    remembered(room)
    good = (room / "room.yaml").read_text()
    bad = good.replace("path:", "paht:")
    for text, read in (
        (bad, ["scale", "cuff"]),
        (bad.replace("unit: lb", "unit: kg"), ["cuff"]),
        (bad.replace("unit: lb", "unit: lbb"), ["cuff"]),
        (bad.replace(", unit: lb", ""), ["cuff"]),
        (bad.replace("id: scale", "id: new-scale"), ["cuff"]),
        (good.replace("  - {id: cuff", "\t- {id: cuff"), ["scale", "cuff"]),
        (good.replace("  - {id: cuff", "\t- {id: cuff").replace("unit: lb", "unit: kg"), ["cuff"]),
        ("", ["cuff"]),
    ):
        (room / "room.yaml").write_text(text)
        start, _ = choose()
        assert start is not None
        assert [device.id for device in start.settings.devices] == read
        assert [one.id for one in start.settings.left_out] == ["scale"] * (2 - len(read))
        assert all("unit is still [lb_av]" in one.problem for one in start.settings.left_out)
    (room / "room.yaml").write_text(good[: good.index("  - {id: cuff")])
    remembered(room)
    (room / "room.yaml").write_text("")
    assert choose()[0] is None, "no device is left"


def test_without_one_there_is_nothing_to_start_with(room: Path, choose: Choose) -> None:
    (room / "room.yaml").write_text("x: 1\n")
    assert choose()[0] is None


def test_a_password_that_cannot_be_read_makes_a_file_bad(room: Path, choose: Choose) -> None:
    good = remembered(room).settings
    (room / "room.yaml").write_text(ROOM.replace("password_file: pw", "password_file: gone"))
    start, _ = choose()
    assert start is not None
    assert start.settings == good
    assert start.in_force.source == "last_good"
    assert start.in_force.first_problem is not None
    assert "password_file" in start.in_force.first_problem
    (room / "pw").unlink()  # the last good one needs it too
    assert choose()[0] is None


def test_what_is_kept_is_private_whole_and_without_secrets(room: Path) -> None:
    loaded = remembered(room)
    file = kept_file(room)
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    kept = json.loads(file.read_text())
    assert kept["hash"] == loaded.settings.config_hash if loaded.settings else None
    names = ["room.yaml", "site/site.yaml", "site/models/a-scale.yaml", "limits.yaml"]
    assert list(kept["files"]) == [str(room / name) for name in names]
    before = file.stat().st_ino
    remembered(room)
    assert kept_file(room).stat().st_ino == before, "the same once more is not written: cards wear out"
    (room / "site" / "site.yaml").write_text(SITE + "# changed\n")
    remembered(room)
    assert kept_file(room).stat().st_ino != before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text.replace("northside", "southside"),
        lambda text: text.replace("vitals.last-good/1", "vitals.last-good/9"),
        lambda text: text.replace('"files"', '"flies"'),
        lambda text: text.replace('"files": {', '"files": {"x": 1, '),
    ],
)
def test_a_damaged_one_is_told_and_not_used(
    room: Path, choose: Choose, spoil: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    remembered(room)
    file = kept_file(room)
    spoilt = spoil(file.read_text())
    assert spoilt != file.read_text()
    file.write_text(spoilt)
    (room / "room.yaml").write_text("x: 1\n")
    assert choose()[0] is None
    assert "the last good configuration is" in caplog.text


def test_one_that_the_software_no_longer_takes_is_told_with_its_problem(
    room: Path, choose: Choose, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered(room)
    (room / "room.yaml").write_text("x: 1\n")
    monkeypatch.setattr(catalogue, "data_folder", lambda: room)  # an update without the cuff's row
    assert choose()[0] is None
    assert 'no model "and-ua-651ble"' in caplog.text


def test_another_file_has_its_own(room: Path) -> None:
    remembered(room)
    other = room / "other.yaml"
    other.write_text(ROOM.replace("exam-3\n", "exam-9\n"))
    last_good.remember(other, config.load(other))
    assert len(list((room / "state").iterdir())) == 2
    for file, name in ((room / "room.yaml", "exam-3"), (other, "exam-9")):
        recalled = last_good.recall(file)
        assert recalled is not None
        assert recalled.settings is not None
        assert recalled.settings.room == name


def test_what_cannot_be_written_is_a_warning_and_leaves_nothing(room: Path, caplog: pytest.LogCaptureFixture) -> None:
    remembered(room)
    file = kept_file(room)
    file.unlink()
    file.mkdir()
    with caplog.at_level(logging.WARNING):
        remembered(room)
    assert "is not remembered" in caplog.text
    assert list((room / "state").iterdir()) == [file]


def test_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/a:{tmp_path}/b")
    assert last_good.folder() == tmp_path / "a"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setattr(last_good, "STATE_FOLDER", tmp_path)
    assert last_good.folder() == tmp_path
    monkeypatch.setattr(last_good, "STATE_FOLDER", tmp_path / "no")
    assert last_good.folder() is None
    assert last_good.recall(tmp_path / "x.yaml") is None
