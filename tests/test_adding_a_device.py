"""docs/adding-a-device.md can be followed: its commands are commands, its files are there, its frames are read."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from gateway import cli
from gateway.inspect import decoded, event_line

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding-a-device.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = sorted({line.strip().partition(" #")[0] for line in "".join(BLOCKS).splitlines()})
# What the reader puts in their place, and what stands there for it.
PLACEHOLDERS = {"FRAME": "53542c", "NEW": "triner-ts-700"}


def words(command: str) -> list[str]:
    return [PLACEHOLDERS.get(word, word) for word in shlex.split(command.partition(">")[0])]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one(command: str) -> None:
    program, *arguments = words(command)
    if program == "$bin/vitals-gateway":
        cli._parser().parse_args(arguments)
    elif program == "$bin/python":
        assert arguments[0] == "-m"
        assert importlib.util.find_spec(arguments[1])
    elif program == "$bin/pytest":
        assert all((ROOT / path).exists() for path in arguments if path.startswith("tests/"))
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "cp":
        assert (ROOT / arguments[0]).is_file()
        assert (ROOT / arguments[1]).parent.is_dir()
    else:
        assert program == "stty"


def test_what_a_page_is_made_by_is_written_where_the_page_is() -> None:
    made = dict(re.findall(r"\$bin/(\S+ .*?) > (\S+)$", "\n".join(COMMANDS), re.MULTILINE))
    assert made == {
        "vitals-gateway models --markdown": "docs/devices.md",
        "python -m gateway.schema": "config/gateway.schema.json",
    }
    assert all((ROOT / file).is_file() for file in made.values())


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+[\w.]*)`", PAGE))
    assert {"drivers/registry.py", "simulators/catalogue.py", "tests/drivers/test_status_first.py"} <= named
    for name in named:
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`([a-z_]+\.py)`", PAGE):
        assert any(list((ROOT / folder).rglob(name)) for folder in ("drivers", "simulators", "tests")), name
    sets = (ROOT / "tests" / "drivers" / "test_every_driver.py").read_text(encoding="utf-8")
    for name in ("CHECKED", "WORKED_OUT", "POLLED"):
        assert f"`{name}`" in PAGE
        assert re.search(rf"^{name} = ", sets, re.MULTILINE)


def test_its_vector_is_read_as_it_says() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    vector = json.loads(block)
    (event,) = decoded(bytes.fromhex(vector["bytes_hex"]), model="triner-ts-700", driver=None)
    said = json.loads(event_line(event))
    assert bytes.fromhex(vector["bytes_hex"]).decode() == vector["ascii"].replace("<0D><0A>", "\r\n")
    (weight,) = said["measurements"]
    assert float(weight["value"]) == vector["expected"]["values"]["weight"]["value"]
    assert set(vector["expected"]["flags"]) <= set(said["flags"])
    first = json.loads((ROOT / "tests" / "vectors" / "st_gs.jsonl").read_text().splitlines()[0])
    assert vector.keys() <= first.keys()
    for key in vector:
        assert f"`{key}`" in PAGE
