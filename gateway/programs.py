"""What other programs of this machine answer when they are asked, each with a limit; None where they do not."""

from __future__ import annotations

import os
import subprocess

LIMIT_S = 5.0
KERNEL_LINES = 5_000


def said(*command: str, limit_s: float = LIMIT_S) -> str | None:
    """Answer what a program prints; None where it is not there, fails, or does not end in time. Blocks."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.decode("utf-8", "replace")


def kernel_log() -> list[str]:
    """Answer the kernel's last lines since the start of the machine, none where the journal may not be read."""
    command = ("journalctl", "-k", "-b", "-o", "cat", "-q", "--no-pager", "-n", str(KERNEL_LINES))
    return (said(*command) or "").splitlines()


def unit(name: str) -> dict[str, str]:
    """Answer how systemd has a unit: ActiveState, Result and the like; empty without systemd."""
    wanted = "--property=LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts,ConditionResult"
    lines = (said("systemctl", "show", wanted, name) or "").splitlines()
    return dict(line.partition("=")[::2] for line in lines if "=" in line)
