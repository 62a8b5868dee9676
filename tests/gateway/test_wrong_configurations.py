"""Wrong configurations, made by hand: each is told with file, line, column, cause and cure.

`wrong/NAME.yaml` is the file, `wrong/NAME.expected` all that `check` then says, word for word; `{here}` is the folder.
What a test cannot hold as a file (a folder, one that may not be read, one that is too large) is made below.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import cli

HERE = Path(__file__).parent / "wrong"
NAMES = sorted(file.stem for file in HERE.glob("*.yaml"))
PROGRAM = Path(sys.executable).with_name("vitals-gateway")
BAD_CONFIG = 78
NOBODY = 65534
_LINE = re.compile(r"(?P<file>[^:]+\.yaml):[1-9][0-9]*:[1-9][0-9]*: (\(file\)|[^ ]+): (warning: )?[^ ].*")
Said = Callable[..., list[str]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Said:
    """What `check` says of a file of the folder."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    def answer(file: str, *, folder: Path = HERE) -> list[str]:
        monkeypatch.chdir(folder)
        assert cli.main(["check", file]) == BAD_CONFIG
        out, err = capfd.readouterr()
        assert err == ""
        return out.splitlines()

    return answer


def expected(name: str) -> list[str]:
    return (HERE / f"{name}.expected").read_text(encoding="utf-8").replace("{here}", str(HERE)).splitlines()


def test_there_are_at_least_forty_and_each_has_its_expectation() -> None:
    assert len(NAMES) >= 40
    assert sorted(file.stem for file in HERE.glob("*.expected")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_configuration_is_told_word_for_word(said: Said, name: str) -> None:
    lines = said(f"{name}.yaml")
    assert lines == expected(name)
    assert all(_LINE.fullmatch(line) for line in lines)
    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize("name", ["tab", "include-broken", "latin-1", "password-in-the-url"])
def test_the_real_process_says_the_same_and_no_stack_trace(name: str) -> None:
    done = subprocess.run([PROGRAM, "check", f"{name}.yaml"], cwd=HERE, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (BAD_CONFIG, b"")
    assert done.stdout.decode("utf-8").splitlines() == expected(name)


def test_what_is_no_file_or_too_large(said: Said, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "huge.yaml").write_bytes(b"# log\n" * 200_000)
    (tmp_path / "deep.yaml").write_bytes(b"site: " + b"[" * 1000)
    (tmp_path / "long.yaml").write_text("site: [" + "x, " * 6000 + "]\n")
    words = "the file cannot be read"
    assert said("folder.yaml", folder=tmp_path) == [
        f"folder.yaml:1:1: (file): {words} (it is a directory: name the file in it)"
    ]
    assert said("absent.yaml", folder=tmp_path) == [
        f"absent.yaml:1:1: (file): {words} (there is no such file: look at the path)"
    ]
    assert said("huge.yaml", folder=tmp_path) == [
        "huge.yaml:1:1: (file): the file has more than 1048576 bytes: this is no configuration of the gateway: look at"
        " the path"
    ]
    assert said("deep.yaml", folder=tmp_path) == ["deep.yaml:1:38: " + DEEP]
    (line,) = said("long.yaml", folder=tmp_path)
    assert line.startswith("long.yaml:1:14999: site[4998]: more than 5000 values")
    assert line.endswith("shorten the file")


DEEP = "site" + "[0]" * 31 + ": nested more than 32 levels deep, counting what aliases repeat: look at the brackets"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything: for this test we are not root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_the_service_may_not_read(said: Said, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("include: site.yaml\nroom: exam-3\n")
    (tmp_path / "site.yaml").write_text("site: northside\n")
    (tmp_path / "site.yaml").chmod(0)
    reasons = "cannot be read (permission denied: let the service's user read it)"
    folders = [folder for folder in (tmp_path, *tmp_path.parents) if not folder.stat().st_mode & 0o001]
    modes = [(folder, folder.stat().st_mode) for folder in folders if folder.owner() != "root" or os.geteuid() == 0]
    try:
        for folder, mode in modes:
            folder.chmod(mode | 0o011)
        with as_nobody():
            assert said("gateway.yaml", folder=tmp_path) == [f"gateway.yaml:1:10: include: site.yaml {reasons}"]
            assert said("site.yaml", folder=tmp_path) == [f"site.yaml:1:1: (file): the file {reasons}"]
    finally:
        for folder, mode in modes:
            folder.chmod(mode)
