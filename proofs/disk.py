"""disk.c, compiled and told what to do: a disk that is full, read-only, slow, broken, or gone at one call."""

from __future__ import annotations

import mmap
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("disk.c")

# As in disk.c. `room`: bytes that can still be written before ENOSPC, -1 for any number.
FIELDS = ("calls", "kill_at", "write_errno", "sync_errno", "read_errno", "open_errno", "sync_delay_us", "room")


def compiled(folder: Path) -> Path:
    """Answer the library, compiled into this folder. Raises CalledProcessError, FileNotFoundError without gcc."""
    library = folder / "disk.so"
    if not library.exists():
        making = folder / f"disk-{os.getpid()}.so"
        command = ["gcc", "-std=gnu11", "-O1", "-Wall", "-shared", "-fPIC", "-o", str(making), str(SOURCE)]
        subprocess.run([*command, "-ldl", "-lpthread"], check=True)
        making.rename(library)
    return library


@dataclass
class Disk:
    """What `files` (the beginning of their paths) lie on, for processes that start in `environment`."""

    library: Path
    files: Path
    folder: Path
    journal: Path | None = None
    _control: mmap.mmap = field(init=False, repr=False)

    def __post_init__(self) -> None:
        control = self.folder / "disk-control"
        control.write_bytes(b"".join(self._bytes(-1 if name == "room" else 0) for name in FIELDS))
        with control.open("r+b") as opened:
            self._control = mmap.mmap(opened.fileno(), 0)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to have its files on this disk."""
        journal = {} if self.journal is None else {"DISK_JOURNAL": str(self.journal)}
        return {
            "LD_PRELOAD": str(self.library),
            "DISK_FILES": str(self.files),
            "DISK_CONTROL": str(self.folder / "disk-control"),
            **journal,
        }

    def __getitem__(self, name: str) -> int:
        at = FIELDS.index(name) * 8
        return int.from_bytes(self._control[at : at + 8], "little", signed=True)

    def set(self, **values: int) -> None:
        """Tell the disk how to be from now on."""
        for name, value in values.items():
            at = FIELDS.index(name) * 8
            self._control[at : at + 8] = self._bytes(value)

    def heal(self) -> None:
        """A good disk again."""
        self.set(**{name: -1 if name == "room" else 0 for name in FIELDS})

    @staticmethod
    def _bytes(value: int) -> bytes:
        return value.to_bytes(8, "little", signed=True)
