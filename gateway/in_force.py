"""Which configuration runs, and whether it is the one on disk. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.settings import Settings

TOLD_LIMIT = 300  # characters of the first problem


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration that runs, by its `hash`: the `file` on disk, or another because of that file's problems.

    `last_good`: the service started with the one that ran last. `previous`: a reload has refused the file. `problems`,
    `first_problem`: what is wrong with the file, with the devices that were `left_out` of it too.
    """

    hash: str
    source: Literal["file", "last_good", "previous"] = "file"
    problems: int = 0
    first_problem: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why the gateway's state is not simply "online"; None where it is."""
        return "last_good_configuration" if self.source == "last_good" else None

    def members(self) -> dict[str, object]:
        """Answer it as JSON has it, for the retained state and for `status`."""
        return {
            "hash": self.hash,
            "in_force": self.source,
            "problems": self.problems,
            "first_problem": None if self.first_problem is None else self.first_problem[:TOLD_LIMIT],
            "left_out": list(self.left_out),
        }

    def refusing(self, problems: Sequence[str]) -> InForce:
        """Answer that this configuration runs on, since the file on disk has these problems."""
        source = self.source if self.source != "file" else "previous"
        return InForce(self.hash, source, len(problems), problems[0] if problems else None, self.left_out)


def running(settings: Settings) -> InForce:
    """Answer that these settings run, as they stand on disk, but for the devices that are left out."""
    left_out = settings.left_out
    first = left_out[0].problem if left_out else None
    return InForce(settings.config_hash, "file", len(left_out), first, tuple(device.id for device in left_out))
