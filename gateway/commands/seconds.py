"""A number of seconds on the command line."""

from __future__ import annotations

import argparse


def seconds(text: str) -> float:
    """Read seconds above 0; raises ArgumentTypeError, as argparse wants."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return number
