"""The outbox's file: opening it, making a new one, bringing an older one up to date, finding out that it is damaged.

Laws:

1. WAL and synchronous=FULL: what is committed is on the card before anyone hears of it, power cut or not.
2. A new database appears under its name when it is complete and on the card: a file there without content is damage.
3. What is damaged is set aside, never deleted, and never written to again (salvage.py).
4. What another gateway, older or newer, has written is not harmed: a newer schema is left as it is.
5. Files have mode 0600, a folder that we make 0700. Nothing of them goes into a temporary file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

DatabaseError = sqlite3.Error  # what Store's methods raise

_MIGRATIONS = Path(__file__).parent / "migrations"
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_READ_FAILED = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_DATA})


class OutboxError(Exception):
    """The outbox cannot be used; `str()` says why and what to do."""


class OutboxTooNew(OutboxError):
    """A newer vitals-gateway wrote it: no other try will do better."""


class OutboxUnavailable(OutboxError):
    """The disk does not give it for now; another try may do better. `reading`: it is there and cannot be read."""

    def __init__(self, words: str, *, reading: bool = False) -> None:
        super().__init__(words)
        self.reading = reading


class OutboxDamaged(Exception):
    """The file is there and is no outbox that can be used; `str()` says what is wrong with it."""


def is_damage(error: DatabaseError) -> bool:
    """Answer whether SQLite says that the file's content is wrong, not that the disk refuses."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite may have rolled back by itself
            db.execute("ROLLBACK")
        raise


@contextmanager
def words_for(path: Path) -> Iterator[None]:
    """Turn what the system says into OutboxUnavailable."""
    try:
        yield
    except OSError as error:
        raise OutboxUnavailable(
            f"{path} cannot be written ({error.strerror}): give its folder to the service's user"
        ) from error
    except sqlite3.Error as error:
        reading = getattr(error, "sqlite_errorcode", 0) in _READ_FAILED
        raise OutboxUnavailable(
            f"{path} cannot be used as an outbox ({error}): check the disk and the file", reading=reading
        ) from error


def lock(path: Path) -> int:
    """Hold the outbox for this process alone: two writers would give one sequence twice. Raises OutboxError."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise OutboxError(f"{path} is in use by another vitals-gateway: stop that one first") from None
        raise
    return descriptor


def open_existing(path: Path) -> sqlite3.Connection:
    """Open a database, at the newest schema. Raises OutboxDamaged, OutboxTooNew, OSError, sqlite3.Error."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.stat().st_size == 0:
        raise OutboxDamaged("it is empty")
    _make_private(path)
    db = _connect(path)
    try:
        try:
            _set_up(db, path)
            _migrate(db, path)
            with suppress(sqlite3.OperationalError):  # a disk that is full; what was deleted is overwritten later
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if db.execute("SELECT value FROM meta WHERE name = 'stream'").fetchone() is None:
                raise OutboxDamaged("it has no stream")
            waiting(db)
        except sqlite3.Error as error:
            if is_damage(error) or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:
                raise OutboxDamaged(str(error)) from error  # SQLITE_ERROR: its tables are not those of its schema
            raise
        except UnicodeDecodeError:  # in what SQLite says of it
            raise OutboxDamaged("its tables' description cannot be read") from None
    except BaseException:
        db.close()
        raise
    return db


def waiting(db: sqlite3.Connection) -> int:
    """Answer how many rows wait."""
    return int(db.execute("SELECT count(*) FROM delivery WHERE state = 'waiting'").fetchone()[0])


def create(path: Path, first_sequence: int, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make a new database, complete and on the card when it appears under this name. Raises OSError, sqlite3.Error."""
    new = path.with_name(path.name + ".new")
    for leftover in (new, with_suffix(new, "-wal"), with_suffix(new, "-shm"), with_suffix(new, "-journal")):
        leftover.unlink(missing_ok=True)
    _make_private(new)
    with closing(_connect(new)) as db:
        _set_up(db, new)
        _migrate(db, new)
        db.execute("BEGIN")
        db.execute("INSERT INTO meta (name, value) VALUES ('stream', ?)", (str(uuid4()),))
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('reading', ?)", (first_sequence - 1,))
        fill(db)
        db.execute("COMMIT")
        # Here, where a disk that is full is told: closing says nothing, and leaves the rows in a log of another name.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    new.rename(path)
    sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class Glance:
    """What a file says that no service has open: its schema, rows by state, bytes. Counts alone, never a row.

    `wrong`: what SQLite finds wrong, None if nothing, and where it did not end in time; `behind`: bytes in its log,
    which no glance reads.
    """

    schema: int
    newest_schema: int
    rows: Mapping[str, int]
    size: int
    behind: int
    wrong: str | None


def glance(path: Path, limit_s: float) -> Glance:
    """Look at an outbox without a lock or a write, a log's or a lock's included. Raises OSError, sqlite3.Error.

    `immutable`: as root, SQLite would else make files of its own beside it, in which the service could not write.
    """
    ends, newest = time.monotonic() + limit_s, len(list(_MIGRATIONS.glob("[0-9]*.sql")))
    size, log = path.stat().st_size, with_suffix(path, "-wal")
    behind = log.stat().st_size if log.exists() else 0
    wrong: str | None = None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        db.set_progress_handler(lambda: time.monotonic() > ends, 100_000)
        schema = int(db.execute("PRAGMA user_version").fetchone()[0])
        rows = {}
        try:
            rows = dict(db.execute("SELECT state, count(*) FROM delivery GROUP BY state"))
            wrong = what_is_wrong(db)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
                raise
    return Glance(schema, newest, rows, size, behind, wrong)


def what_is_wrong(db: sqlite3.Connection) -> str | None:
    """Answer what SQLite finds wrong with tables and indexes, None if nothing. It reads all of the file.

    Raises sqlite3.Error, where that is no damage: interrupted, or a disk that does not read.
    """
    try:
        found = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return str(error)
    return None if found == "ok" else found


def with_suffix(path: Path, suffix: str) -> Path:
    """Answer SQLite's own file beside a database: -wal, -shm."""
    return path.with_name(path.name + suffix)


def sync_folder(folder: Path) -> None:
    """Bring names to the card: a file's content alone is not found again."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_private(path: Path) -> None:
    """Make the file if it is not there, ours alone to read and write: SQLite's own files take its mode."""
    with suppress(FileNotFoundError, PermissionError):  # not there; or not ours, and opening it will say so
        path.chmod(0o600)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)


def _set_up(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA secure_delete = ON").fetchall()
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise OutboxUnavailable(f"{path} lies on a disk that cannot hold a write-ahead log: use a local disk")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, one numbered file after the other, each in its own transaction.

    The schema's number stands in the header and in `meta`: a header with a flipped bit is not a newer gateway's.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    steps = sorted(_MIGRATIONS.glob("[0-9]*.sql"))
    if version > len(steps):
        noted = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
        if noted is not None and (version ^ int(noted[0])).bit_count() == 1:
            raise OutboxDamaged(f"its header says schema {version}, its tables say {noted[0]}")
        raise OutboxTooNew(
            f"{path} was written by a newer vitals-gateway (schema {version}, this one knows {len(steps)}):"
            " install that one again"
        )
    for number, step in enumerate(steps[version:], version + 1):
        noted = f"PRAGMA user_version = {number};\nREPLACE INTO meta VALUES ('schema', '{number}');"
        db.executescript(f"BEGIN IMMEDIATE;\n{step.read_text()}\n{noted}\nCOMMIT;")
