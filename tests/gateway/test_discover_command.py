"""What the command discover refuses, in words, before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import cli


def run(*arguments: str) -> int:
    """The command in this process; answers its exit status."""
    try:
        given = cli._parser().parse_args(["discover", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    status: int = given.act(given)
    return status


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ask", "mt-sics-scale"), "name the one port"),
        (("--ask", "mt-sics-scale", "--port", "/dev/a", "--port", "/dev/b"), "name the one port"),
        (("--ask", "mt-sics", "--port", "/dev/a"), 'did you mean "mt-sics-scale"?'),
        (("--ask", "masimo-rad-8", "--port", "/dev/a"), "is never asked"),
        (("--ask", "and-ua-651ble", "--port", "/dev/a"), "is never asked"),
        (("--bluetooth-only", "--port", "/dev/a"), "leave --bluetooth-only away"),
        (("--seconds", "0"), "no number of seconds"),
        (("--serial-only", "--bluetooth-only"), "not allowed with"),
    ],
)
def test_a_misuse_is_told_and_opens_nothing(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert run(*arguments) == 64
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""


def test_a_models_folder_with_a_broken_row_is_told_with_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text("maker: Nobody\n")
    assert run("--models-dir", str(tmp_path)) == 78
    assert "broken.yaml:" in capsys.readouterr().err
