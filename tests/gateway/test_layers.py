"""A site's file and a room's: what wins, whose line a problem names, whose folder a path is in; `--explain`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import catalogue, cli, config, layers
from gateway.files import Files
from gateway.settings import Settings
from gateway.yaml_places import Node, read

SITE = """\
site: northside
timezone: America/Chicago
broker:
  urls: [mqtts://a.clinic.example, mqtts://b.clinic.example]
  username: nobody
  ca_file: ca.pem
outbox:
  path: outbox.db
  keep_days: 30
devices:
  - {id: everywhere, model: and-standard-scale, port: /dev/serial/by-path/x}
"""
ROOM = """\
include: site/site.yaml
room: exam-3
broker:
  username: exam-3
outbox: {keep_days: 3}
devices:
  - {id: scale, model: and-standard-scale, port: /dev/serial/by-path/y, serial: {baud: 4800}}
  - {id: cuff, model: and-ua-651ble, address: "C8:1E:8E:00:00:01"}
"""
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ca.pem").touch()
    (tmp_path / "site" / "site.yaml").write_text(SITE)
    (tmp_path / "room.yaml").write_text(ROOM)
    return tmp_path


@pytest.fixture
def explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`check room.yaml --explain KEY`: exit status, lines, standard error."""

    def answer(key: str) -> tuple[int, list[str], str]:
        status = cli.main(["check", "room.yaml", "--explain", key])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return answer


def settings_of(file: Path) -> Settings:
    loaded = config.load(file)
    assert loaded.settings is not None, loaded.problems
    return loaded.settings


def test_the_room_wins_key_by_key_and_lists_are_replaced_whole(folder: Path) -> None:
    said = settings_of(folder / "room.yaml")
    assert (said.site, said.room, said.timezone) == ("northside", "exam-3", "America/Chicago")
    assert [url.host for url in said.broker.urls] == ["a.clinic.example", "b.clinic.example"]
    assert said.broker.username == "exam-3"
    assert said.outbox.keep_days == 3
    assert [device.id for device in said.devices] == ["scale", "cuff"]


def test_a_relative_path_is_relative_to_the_file_in_which_it_stands(folder: Path) -> None:
    (folder / "site" / "site.yaml").write_text(SITE + "metrics: {textfile: all.prom}\nmodels_dir: models\n")
    (folder / "site" / "models").mkdir()
    (folder / "room.yaml").write_text(ROOM.replace("keep_days: 3", "path: mine.db"))
    said = settings_of(folder / "room.yaml")
    assert said.broker.ca_file == folder / "site" / "ca.pem"
    assert said.outbox.path == folder / "mine.db"
    assert said.models_dir == folder / "site" / "models"
    assert said.metrics is not None
    assert said.metrics.textfile == folder / "site" / "all.prom"


def test_a_later_include_wins_over_an_earlier_and_over_what_that_includes(folder: Path) -> None:
    (folder / "site" / "org.yaml").write_text(
        "timezone: America/New_York\npublish_raw: true\nbroker: {username: org}\n"
    )
    (folder / "site" / "site.yaml").write_text("include: org.yaml\n" + SITE)
    (folder / "floor.yaml").write_text("timezone: America/Denver\nbroker: {username: floor}\n")
    text = ROOM.replace("include: site/site.yaml", "include: [site/site.yaml, floor.yaml]")
    (folder / "room.yaml").write_text(text.replace("  username: exam-3", "  protocol: 5"))
    said = settings_of(folder / "room.yaml")
    assert (said.timezone, said.broker.username, said.publish_raw) == ("America/Denver", "floor", True)
    (folder / "room.yaml").write_text(text.replace("[site/site.yaml, floor.yaml]", "[floor.yaml, site/site.yaml]"))
    assert settings_of(folder / "room.yaml").timezone == "America/Chicago"


def test_a_problem_names_the_file_in_which_it_stands(folder: Path) -> None:
    (folder / "site" / "site.yaml").write_text(SITE.replace("Chicago", "Nowhere").replace("ca.pem", "gone.pem"))
    (folder / "room.yaml").write_text(ROOM.replace("username", "usernam"))
    loaded = config.load(Path("room.yaml"))
    assert [str(problem).split(": ")[0] for problem in loaded.problems] == [
        "room.yaml:4:3",
        "site/site.yaml:2:11",
        "site/site.yaml:6:12",
    ]


def test_what_is_missing_is_not_asked_for_while_an_included_file_cannot_be_read(folder: Path) -> None:
    (folder / "site" / "site.yaml").unlink()
    (folder / "room.yaml").write_text(ROOM.replace("keep_days: 3", "keep_days: three"))
    first, second = config.load(Path("room.yaml")).problems
    assert str(first).startswith("room.yaml:1:10: include: site/site.yaml cannot be read (there is no such file")
    assert str(second).startswith("room.yaml:5:21: outbox.keep_days: ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{site: x}", "must be the name of a file, or a list"),
        ("[]", "must be the name of a file, or a list"),
        ("", "must be the name of a file"),
        ("yes", 'write it in quotes: "yes"'),
        ("[site/site.yaml, [x]]", "must be the name of a file"),
        ("site", "it is a directory"),
        ("room.yaml", "the files include each other (room.yaml → room.yaml)"),
        ("site/../room.yaml", "the files include each other"),
        ("deep-0.yaml", "more than 4 files, each in another"),
        ("[" + "site/site.yaml, " * 21 + "]", "more than 20 files"),
        ("list.yaml", "an included file must hold keys and values"),
        ('"a\\0b"', "must be the name of a file"),
        ("~/site.yaml", "there is no such file"),
    ],
)
def test_what_is_no_include_is_told(folder: Path, value: str, words: str) -> None:
    for index in range(5):
        (folder / f"deep-{index}.yaml").write_text(f"include: deep-{index + 1}.yaml\n")
    (folder / "list.yaml").write_text("- a\n")
    (folder / "room.yaml").write_text(ROOM.replace("site/site.yaml", value))
    loaded = config.load(Path("room.yaml"))
    assert loaded.settings is None
    assert any(words in problem.message for problem in loaded.problems), loaded.problems


def test_the_hash_covers_every_file_and_of_one_alone_it_is_that_files(folder: Path) -> None:
    room = folder / "room.yaml"
    before = settings_of(room).config_hash
    (folder / "site" / "site.yaml").write_text(SITE + "# a comment\n")
    changed = settings_of(room).config_hash
    (folder / "limits.yaml").write_bytes((catalogue.data_folder() / "ranges.yaml").read_bytes())
    room.write_text(ROOM + "ranges: limits.yaml\n")
    with_limits = settings_of(room).config_hash
    (folder / "limits.yaml").write_bytes((folder / "limits.yaml").read_bytes() + b"# one more\n")
    assert len({before, changed, with_limits, settings_of(room).config_hash}) == 4
    alone = SITE.replace("ca.pem", "site/ca.pem") + "room: exam-3\n"
    room.write_text(alone)
    assert settings_of(room).config_hash == hashlib.sha256(alone.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (
            "broker.username",
            ["broker.username: exam-3", "  from room.yaml:4:13", "  instead of nobody in site/site.yaml:5:13"],
        ),
        (
            "outbox.path",
            ["outbox.path: outbox.db", "  from site/site.yaml:8:9", "  used as {here}/site/outbox.db"],
        ),
        ("publish_raw", ["publish_raw: false", "  from the default: no file says it"]),
        ("ranges", ["ranges: not set", "  no file says it"]),
        (
            "broker.urls",
            ["broker.urls: [mqtts://a.clinic.example, mqtts://b.clinic.example]", "  from site/site.yaml:4:9"],
        ),
        (
            "devices.cuff.model",
            [
                "devices.cuff.model: and-ua-651ble",
                "  from room.yaml:8:23",
                "  instead of a list of 1 in site/site.yaml:11:3",
            ],
        ),
        (
            "devices.0.serial.baud",
            [
                "devices.scale.serial.baud: 4800",
                "  from room.yaml:7:88",
                "  instead of a list of 1 in site/site.yaml:11:3",
            ],
        ),
        (
            "devices[0].serial.parity",
            ["devices.scale.serial.parity: even", "  from the model's row, {rows}/and-standard-scale.yaml:10:42"],
        ),
    ],
)
def test_explain_says_where_a_value_comes_from(explain: Run, folder: Path, key: str, lines: list[str]) -> None:
    rows = catalogue.data_folder() / "devices"
    assert explain(key) == (0, [line.format(here=folder, rows=rows) for line in lines], "")


def test_explain_of_a_part_lists_what_is_in_it(explain: Run) -> None:
    status, lines, _ = explain("outbox")
    assert status == 0
    assert [line.split(":")[0] for line in lines if line[0] != " "] == [
        "outbox.path",
        "outbox.keep_days",
        "outbox.max_mb",
    ]
    _, lines, _ = explain("devices")
    assert lines[:3] == [
        "devices: a list of 2",
        "  from room.yaml:7:3",
        "  instead of a list of 1 in site/site.yaml:11:3",
    ]
    assert {"devices.scale.id: scale", "devices.cuff.serial: not set"} <= set(lines)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("broker.usrname", 'did you mean "username"?'),
        ("devices.cufff.model", 'did you mean "cuff"?'),
        ("devices.2", "allowed: scale, cuff"),
        ("timezone.x", "none below this one"),
        ("include", "there is no key"),
    ],
)
def test_explain_of_no_key_is_wrong_usage(explain: Run, key: str, words: str) -> None:
    status, lines, err = explain(key)
    assert (status, lines) == (64, [])
    assert words in err


def test_explain_shows_no_secret_and_reads_none(explain: Run, folder: Path) -> None:
    (folder / "room.yaml").write_text(
        ROOM.replace("broker:\n", "broker:\n  url: mqtts://me:hunter2@x\n  password_file: pw\n  password: hunter2\n")
    )
    (folder / "pw").write_text("hunter2")
    said = [explain(key) for key in ("broker", "broker.url", "broker.password_file", "broker.password")]
    assert [status for status, _, _ in said] == [78, 78, 78, 64]
    assert "hunter2" not in str(said)
    assert said[1][1][0] == "broker.url: (not shown: a password may stand in it)"


_MERGED = st.recursive(
    st.sampled_from(["1", "x", "~"]),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
        | st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
    ),
    max_leaves=8,
)


def _plain(over: object, base: object) -> object:
    """What the laws of gateway/layers.py say of two values, written once more."""
    if isinstance(over, dict) and isinstance(base, dict):
        return {
            key: _plain(over[key], base[key]) if key in over and key in base else {**base, **over}[key]
            for key in over.keys() | base.keys()
        }
    return over


@given(texts=st.lists(_MERGED, min_size=2, max_size=3))
def test_merging_is_what_its_laws_say_and_each_node_keeps_its_file(texts: list[str]) -> None:
    roots = [read(text, Path(str(index)))[0] for index, text in enumerate(texts)]
    merged, data = roots[-1], None if roots[-1] is None else roots[-1].data
    assert merged is not None
    for over in reversed(roots[:-1]):
        assert over is not None
        merged, data = layers._merged(over, merged), _plain(over.data, data)
    assert merged.data == data
    _each_stands_where_it_says(merged, texts)


def _each_stands_where_it_says(node: Node, texts: list[str]) -> None:
    rest = texts[int(str(node.file))].splitlines()[node.line - 1][node.column - 1 :]
    assert rest.startswith(node.text if node.scalar else "{" if isinstance(node.data, dict) else "[")
    for child in node.children.values():
        _each_stands_where_it_says(child, texts)


def test_a_file_without_include_is_its_own_tree(folder: Path) -> None:
    (folder / "site" / "site.yaml").write_text(SITE)
    found = layers.read(folder / "site" / "site.yaml", Files())
    assert found.report.root is found.roots[0]
    assert found.whole
    assert found.order == {str(folder / "site" / "site.yaml"): 0}
