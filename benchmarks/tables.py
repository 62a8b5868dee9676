"""How results are printed: Markdown, the median with the lowest and the highest beside it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> None:
    """Print a table under its title."""
    print(f"\n### {title}\n")
    if note:
        print(f"{note}\n")
    print("| " + " | ".join(columns) + " |\n|---|" + "--:|" * (len(columns) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Answer the median, and from where to where the runs went."""
    if not values:
        return "–"
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def percentile(values: Sequence[float], percent: int) -> float:
    """Answer a percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
