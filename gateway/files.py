"""The bytes of a configuration's files: from the disk, or as they were remembered (gateway/last_good.py).

What a configuration is made of is read here and nowhere else: its YAML, what that includes, the site's own models and
ranges. Secrets and certificates are not: they are named, and read by those who need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Files:
    """`taken`: what has been read so far, by absolute path, in the order of reading."""

    def __init__(self, remembered: Mapping[Path, bytes] | None = None) -> None:
        """`remembered`: these files and no others; the disk is not looked at."""
        self.taken: dict[Path, bytes] = {}
        self._remembered = remembered

    def read(self, file: Path, limit: int) -> bytes:
        """Answer at most the first `limit` bytes, the same ones each time. Raises OSError, ValueError."""
        name = file.absolute()
        if name not in self.taken:
            if self._remembered is None:
                with name.open("rb") as stream:
                    self.taken[name] = stream.read(limit)
            elif name in self._remembered:
                self.taken[name] = self._remembered[name][:limit]
            else:
                raise FileNotFoundError(name)
        return self.taken[name]

    def yaml_files(self, folder: Path) -> list[Path]:
        """Answer the YAML files of a folder; none where it cannot be looked at."""
        if self._remembered is not None:
            return [file for file in self._remembered if file.parent == folder.absolute() and file.suffix == ".yaml"]
        try:
            return [file for file in folder.iterdir() if file.suffix == ".yaml"]
        except OSError:
            return []

    def is_folder(self, folder: Path) -> bool:
        """Whether a folder is there. Of what is remembered it was."""
        try:
            return self._remembered is not None or folder.is_dir()
        except OSError:
            return False
