"""`python -m proofs kill|power-cut [--runs N] [--seed S]`: the same as the tests in CI, as long as you like."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from proofs.faults import cut_power, kill


def _show(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{words}", end="", file=sys.stderr)


def main() -> int:
    """Answer 0 where nothing was lost, doubled or unreadable, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m proofs", description=__doc__)
    parser.add_argument("fault", choices=["kill", "power-cut"])
    parser.add_argument("--runs", type=int, help="kill: 2000, power-cut: 500, where nothing is said")
    parser.add_argument("--seed", type=int, default=20261124)
    asked = parser.parse_args()
    prove = kill if asked.fault == "kill" else cut_power
    runs = asked.runs or (2000 if asked.fault == "kill" else 500)
    since = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="proofs-") as folder:
        account = prove(runs, Path(folder), asked.seed, _show)
    print(f"{asked.fault}, seed {asked.seed}: {account} ({time.monotonic() - since:.0f} s)")
    return 1 if account.lost or account.doubled or account.unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
