"""What changes from one configuration to the next, in the words of the YAML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.changes import impossible, told
from gateway.config import load
from gateway.prepared import Prepared, prepare

YAML = """\
site: northside
room: exam-3
timezone: America/Chicago
broker: {{url: "mqtt://127.0.0.1:1883"}}
outbox: {{path: outbox.db}}
devices:
  - {{id: scale, model: and-standard-scale, port: /dev/serial/by-path/one{scale}}}
  - {{id: user-scale, model: beurer-bf720, address: "C8:1E:8E:00:07:01", consent_file: code}}
"""


def prepared(folder: Path, yaml: str = YAML.format(scale="")) -> Prepared:
    (folder / "gateway.yaml").write_text(yaml)
    if not (folder / "code").exists():
        (folder / "code").write_text("1234")
    loaded = load(folder / "gateway.yaml")
    assert loaded.settings is not None, loaded.problems
    return prepare(loaded.settings)


def test_a_comment_changes_nothing(tmp_path: Path) -> None:
    before = prepared(tmp_path)
    after = prepared(tmp_path, "# a comment\n" + YAML.format(scale=""))
    assert before.settings.config_hash != after.settings.config_hash
    assert told(before, after, (), ()) == []


@pytest.mark.parametrize(
    ("scale", "keys"),
    [
        (", serial: {baud: 4800}", "serial"),
        (", unit: kg, stored: publish", "stored, unit"),
    ],
)
def test_a_device_is_told_by_the_keys_of_the_yaml(tmp_path: Path, scale: str, keys: str) -> None:
    assert told(prepared(tmp_path), prepared(tmp_path, YAML.format(scale=scale)), (), ()) == [f"device scale: {keys}"]


def test_another_model_is_not_told_by_what_follows_from_it(tmp_path: Path) -> None:
    other = YAML.format(scale="").replace("and-standard-scale", "health-o-meter-500kl")
    assert told(prepared(tmp_path), prepared(tmp_path, other), (), ()) == ["device scale: model"]


def test_another_code_in_the_same_file_is_a_change(tmp_path: Path) -> None:
    before = prepared(tmp_path)
    (tmp_path / "code").write_text("4321")
    words = ["device user-scale: what its model or its consent_file says"]
    assert told(before, prepared(tmp_path), (), ()) == words
    assert "4321" not in str(words)


def test_a_certificate_that_was_renewed_under_its_name_is_a_change(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("one")
    yaml = YAML.format(scale="").replace(":1883", ':1883", ca_file: "ca.pem')
    before = prepared(tmp_path, yaml)
    assert told(before, prepared(tmp_path, yaml), (), ()) == []
    ca.write_text("two")
    assert told(before, prepared(tmp_path, yaml), (), ()) == ["broker: connects anew"]


def test_site_room_and_outbox_are_the_streams(tmp_path: Path) -> None:
    settings = prepared(tmp_path).settings
    assert impossible(settings, settings) == []
    elsewhere = replace(settings.outbox, path=tmp_path / "other.db")
    problems = impossible(settings, replace(settings, site="southside", room="exam-4", outbox=elsewhere))
    assert [problem.split(":")[0] for problem in problems] == ["site", "room", "outbox.path"]
