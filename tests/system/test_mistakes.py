"""What a person gets wrong is answered in words and with the contract's exit status, never with a stack trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
PATIENCE_S = 60.0
FAILED, USAGE, BAD_CONFIG, ENDED_BY_PIPE = 1, 64, 78, 141


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(folder), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("vitals-gateway", USAGE, "COMMAND"),
        ("vitals-gateway reboot", USAGE, "invalid choice: 'reboot'"),
        ("vitals-gateway check", USAGE, "FILE"),
        ("vitals-gateway check .", BAD_CONFIG, "it is a directory"),
        ("vitals-gateway check none.yaml", BAD_CONFIG, "there is no such file"),
        ("vitals-gateway check /proc/self/mem", BAD_CONFIG, "cannot be read"),
        ("printf '\\xff\\xfe' > bad.yaml; vitals-gateway check bad.yaml", BAD_CONFIG, "bad.yaml:1:1"),
        ("printf 'a: [' > bad.yaml; vitals-gateway check bad.yaml", BAD_CONFIG, "bad.yaml:2:1"),
        ("vitals-gateway run", USAGE, "--config"),
        ("vitals-gateway run --config none.yaml", BAD_CONFIG, "there is no such file"),
        ("vitals-gateway status", FAILED, "no service answers"),
        ("vitals-gateway status --watch never", USAGE, "number of seconds"),
        ("vitals-gateway trace", USAGE, "name a reading's ID"),
        ("vitals-gateway trace 1", FAILED, "no service answers"),
        ("vitals-gateway resend --sequence 5..", USAGE, "range of sequences"),
        ("vitals-gateway pair", USAGE, "--address"),
        ("vitals-gateway pair --address here", FAILED, "no service answers"),
        ("vitals-gateway models --models-dir none", USAGE, "is no folder"),
        ("vitals-gateway models > /dev/full", FAILED, "No space left on device"),
        ("vitals-gateway models | true", ENDED_BY_PIPE, ""),
        ("vitals-gateway decode --driver none --hex 00", USAGE, "the drivers are"),
        ("vitals-gateway decode --model and-ua-651ble --hex 0g", USAGE, "pairs of hex digits"),
        ("vitals-gateway decode --model and-ua-651ble --hex 00", USAGE, "2A35"),
        ("vitals-gateway decode --driver and_scale --file .", USAGE, "Is a directory"),
        ("vitals-gateway simulate none", USAGE, "no simulator for model 'none'"),
        ("vitals-gateway simulate and-standard-scale --set much", USAGE, "KIND=VALUE"),
        ("vitals-gateway simulate and-standard-scale --fault none", USAGE, "unknown fault"),
        ("vitals-gateway simulate and-standard-scale --story none", USAGE, "No such file"),
        ("vitals-gateway simulate and-ua-651ble --dongle none", USAGE, "no dongle"),
        ("vitals-gateway demo --seconds 0", USAGE, "number of seconds"),
    ],
)
def test_a_mistake_is_answered_in_words(line: str, status: int, words: str, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert words in said
    assert done.returncode == status, said


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--seconds", "60"],
        ["simulate", "and-ua-651ble", "--set", "systolic=120"],
        ["simulate", "and-standard-scale"],
    ],
)
def test_ctrl_c_on_a_terminal_reaches_the_children_too_and_ends_well(arguments: list[str]) -> None:
    with subprocess.Popen(
        [PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said
    assert process.returncode == 0, said
