"""The last good configuration: what a service last started with, kept for the day on which its YAML is bad.

All that the configuration is made of is kept, word for word: the YAML, what it includes, the site's own models, its
ranges. Not kept: passwords, consent codes, keys and certificates (they are named, and must be where they were), and
what the package brings (an update may change it). One small file for each YAML, in the service's state directory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path

from gateway.config import Loaded, load
from gateway.files import Files

_log = logging.getLogger(__name__)

SCHEMA = "vitals.last-good/1"
STATE_FOLDER = Path("/var/lib/vitals-gateway")  # StateDirectory= of the packaged unit: systemd makes it
_MAX_BYTES = 64 << 20  # twenty included files of the largest size, and as many models


def folder() -> Path | None:
    """Answer where it is kept: in systemd's $STATE_DIRECTORY, else in STATE_FOLDER where that is there."""
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state)
    return STATE_FOLDER if STATE_FOLDER.is_dir() else None


def remember(path: Path, loaded: Loaded) -> None:
    """Keep what came of the YAML at `path`, with which the service has started. What fails is logged, no more.

    It writes to the disk, and waits for it: never on the event loop. The same once more writes nothing.
    """
    where = _file(path)
    if where is None or loaded.settings is None:
        return
    kept = {
        "schema": SCHEMA,
        "file": str(path.absolute()),
        "hash": loaded.settings.config_hash,
        "files": {str(file): data.decode("utf-8") for file, data in loaded.files.items()},
    }
    data = json.dumps(kept, indent=1).encode("ascii")
    try:
        if not (where.is_file() and where.read_bytes() == data):
            _replace(where, data)
    except OSError as error:
        _log.warning("the configuration is not remembered as the last good one: %s (%s)", where, error.strerror)


def recall(path: Path) -> Loaded | None:
    """Answer what was remembered for the YAML at `path`, read anew; None where there is none that is still good."""
    where = _file(path)
    if where is None:
        return None
    try:
        with where.open("rb") as stream:
            data = stream.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.error("the last good configuration cannot be read: %s (%s)", where, error.strerror)
        return None
    try:
        kept = json.loads(data)
        if (kept["schema"], kept["file"]) != (SCHEMA, str(path.absolute())):
            raise ValueError
        files = {Path(file): text.encode("utf-8") for file, text in kept["files"].items()}
        loaded = load(path, Files(files))
        good = loaded.settings is not None and loaded.settings.config_hash == kept["hash"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _log.error("the last good configuration is damaged: %s", where)
        return None
    if not good:
        told = next((str(problem) for problem in loaded.problems if problem.severity == "error"), "it was changed")
        _log.error("the last good configuration is good no more: %s (%s)", where, told)
        return None
    return loaded


def _file(path: Path) -> Path | None:
    state = folder()
    if state is None:
        return None
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:12]
    return state / f"last-good-{name}.json"


def _replace(file: Path, data: bytes) -> None:
    """Put it in the file's place at once, on disk: after a power cut there is the old one or the new one."""
    new = file.with_name(f".{file.name}.new")
    try:
        with suppress(FileNotFoundError):
            new.unlink()  # left by a stop in the middle
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
