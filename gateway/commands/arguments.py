"""What stands on the command line, read; each raises ArgumentTypeError in the words that argparse shows."""

from __future__ import annotations

import argparse
from pathlib import Path


def seconds(text: str) -> float:
    """Read seconds above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return number


def folder(text: str) -> Path:
    """Read the path of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder, or it may not be looked at")
    return path
