"""The service's account, and what the mode of a file lets it do: `check` and `doctor` run as somebody else."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

NAME = "vitals-gateway"  # systemd/vitals-gateway.sysusers.conf


@dataclass(frozen=True, slots=True)
class Account:
    """A user and their groups, by number."""

    uid: int
    gids: frozenset[int]

    def may(self, path: Path, want: int) -> bool:
        """Whether the modes of a file and its folders let them (`want`: os.R_OK | os.W_OK). Raises OSError.

        What is asked is asked of the modes alone: the sandbox of the unit may forbid more.
        """
        folders = path.absolute().parents
        return all(self._has(folder.stat(), os.X_OK) for folder in folders) and self._has(path.stat(), want)

    def _has(self, node: os.stat_result, want: int) -> bool:
        if self.uid == 0:
            return True
        shift = 6 if node.st_uid == self.uid else 3 if node.st_gid in self.gids else 0
        return (stat.S_IMODE(node.st_mode) >> shift) & want == want


def service_account() -> Account | None:
    """Answer the account under which the packaged unit runs; None where there is none."""
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return None
    groups = {entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if NAME in group.gr_mem)}
    return Account(entry.pw_uid, frozenset(groups))
