"""docs/it.md, followed to the letter: from a bare Debian to a reading that has arrived, with the number of commands.

What a person does beside the commands stands here: what they type in the editor, the password, Y to apt. A command that
fails must fail with words that the doc has. A container has no serial adapter: the scale is simulated, on a pty, and
its readings are marked `test`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from debian.tests.conftest import Machine

pytestmark = pytest.mark.timeout(600)

PAGE = (Path(__file__).parents[2] / "docs/it.md").read_text()
# Each chapter that is followed, up to the heading after it.
CHAPTERS = (
    ("## Install", "### Without the package"),
    ("## Configure", "### One file for"),
    ("## Start", "## Change"),
)
EDITOR = """\
#!/bin/sh
# A person's hands: the second time, the doc's few lines with the port that the scale has told.
test -e /root/edited || { touch /root/edited; exit; }
port=$(journalctl --unit=scale --output=cat | grep ^/dev/pts/)
sed "s,/dev/pts/0,$port," /root/trial.yaml >"$1"
"""


def chapters() -> list[str]:
    return [PAGE[PAGE.index(f"\n{begin}\n") : PAGE.index(f"\n{end}")] for begin, end in CHAPTERS]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for text in chapters() for block in blocks(text, "sh") for line in block.splitlines() if line.strip()]


def test_from_a_bare_debian_to_a_published_reading_by_the_doc_alone(
    bare_machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True)
    root = bare_machine.root
    (root / "usr/bin/editor").write_text(EDITOR)
    (root / "usr/bin/editor").chmod(0o755)
    (trial,) = blocks(chapters()[1], "yaml")
    (root / "root/trial.yaml").write_text(trial)
    said = ""
    for command in commands():
        line = command.replace("_arm64.deb", f"_{architecture.stdout.strip()}.deb")  # "on a PC"
        typed = {"apt": "y\n", "install": "a password\n"}.get(line.split()[0], "")
        status, said = bare_machine.type(line, typed)
        with capsys.disabled():
            sys.stdout.write(f"\n{status:>3}  {line.split('  #')[0].rstrip()}")
        assert status == 0 or named(said), f"{line}\nexit {status}, and docs/it.md has no word of it:\n{said}"
        if "journalctl --unit=scale" in line:
            bare_machine.until("journalctl --unit=scale --output=cat | grep -c ^/dev/pts/", "1")  # they look again
    reading = json.loads(said)
    assert (reading["mode"], reading["device"]["id"]) == ("test", "scale")
    with capsys.disabled():
        sys.stdout.write(f"\n     {len(commands())} commands, and {reading['schema']} has arrived\n")
    assert f"these are {len(commands())} commands" in PAGE
    assert "WARNING" not in bare_machine.log()


def named(said: str) -> bool:
    """Whether a sentence of the doc begins with what was said: a code span, and what to do."""
    spans = re.findall(r"^`([^`]+)`[^`\n]*(?:`[^`]+`)?: ", "".join(chapters()), re.MULTILINE)
    return any(span in said for span in spans)
