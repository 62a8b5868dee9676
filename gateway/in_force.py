"""Which configuration runs, and whether it is the one on disk. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TOLD_LIMIT = 300  # characters of the first problem


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration that runs, by its `hash`: the `file` on disk, or another because of that file's problems.

    `last_good`: the service started with the one that ran last. `previous`: a reload has refused the file.
    """

    hash: str
    source: Literal["file", "last_good", "previous"] = "file"
    problems: int = 0
    first_problem: str | None = None

    def members(self) -> dict[str, object]:
        """Answer it as JSON has it, for the retained state and for `status`."""
        return {
            "hash": self.hash,
            "in_force": self.source,
            "problems": self.problems,
            "first_problem": self.first_problem,
        }

    def refusing(self, problems: Sequence[str]) -> InForce:
        """Answer that this configuration runs on, since the file on disk has these problems."""
        source = self.source if self.source != "file" else "previous"
        first = problems[0][:TOLD_LIMIT] if problems else None
        return InForce(self.hash, source, len(problems), first)
