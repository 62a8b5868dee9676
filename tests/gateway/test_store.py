"""The outbox's tables, on real files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import store as store_module
from gateway.store import Draft, Mark, OutboxError, Store

DATABASES = Path(__file__).parent / "databases"
READING, QUARANTINE = "vitals/v1/northside/exam-3/reading", "vitals/v1/northside/exam-3/quarantine"


def draft(ident: UUID | None = None, revision: int = 1, *, topic: str = READING, size: int = 0) -> Draft:
    filler = b"x" * size
    return Draft(ident or uuid4(), revision, "cuff", topic, lambda _, number: b"%d %b" % (number, filler), raw=b"raw")


def failing(_stream: UUID, _sequence: int) -> bytes:
    raise ValueError("a time without a zone")


def sequences(store: Store, after: int = 0, limit: int = 1000, without: tuple[str, ...] = ()) -> list[int]:
    return [row.sequence for row in store.waiting(after, limit, without)]


def delivered(*numbers: int) -> list[Mark]:
    return [Mark(number, "delivered", "success") for number in numbers]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "outbox.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


# ---- sequences -------------------------------------------------------------------------------------------------------


def test_the_bytes_on_disk_are_those_that_were_encoded_with_the_sequence(store: Store) -> None:
    rows = store.write([draft(), draft(topic=QUARANTINE)], [])
    assert [(row.sequence, row.topic, row.payload) for row in rows] == [(1, READING, b"1 "), (2, QUARANTINE, b"2 ")]
    assert store.waiting(0, 10, ()) == rows


def test_a_second_keep_of_one_revision_gives_no_row_and_no_sequence_not_even_after_a_restart(path: Path) -> None:
    ident = uuid4()
    with closing(Store(path)) as store:
        assert len(store.write([draft(ident)], [])) == 1
        assert store.write([draft(ident)], []) == []
        assert store.write([draft(ident), draft(ident, 2), draft(ident, 2)], [])[0].sequence == 2
    with closing(Store(path)) as store:
        assert [row.sequence for row in store.write([draft()], [])] == [3]
        assert sequences(store) == [1, 2, 3]


def test_a_sequence_is_not_used_again_after_its_row_was_purged(path: Path) -> None:
    with closing(Store(path)) as store:
        store.write([draft(), draft()], [])
        store.write([], delivered(1, 2))
        assert store.purge(time.time() + 1) == 2
    with closing(Store(path)) as store:
        assert [row.sequence for row in store.write([draft()], [])] == [3]


def test_an_encode_that_raises_keeps_nothing_and_costs_no_sequence(path: Path) -> None:
    with closing(Store(path)) as store:
        bad = Draft(uuid4(), 1, "cuff", READING, failing)
        with pytest.raises(ValueError, match="without a zone"):
            store.write([draft(), bad], [])
        assert sequences(store) == []
        assert [row.sequence for row in store.write([draft()], [])] == [1]


def test_a_full_database_keeps_nothing_and_costs_no_sequence(path: Path) -> None:
    with closing(Store(path)) as store:
        store.write([draft()], [])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.write([draft(), draft(size=100_000)], delivered(1))
        assert sequences(store) == [1]  # the mark, too, is of that transaction
        store._db.execute("PRAGMA max_page_count = 100000").fetchall()
        assert [row.sequence for row in store.write([draft()], [])] == [2]
    with closing(Store(path)) as store:
        assert [row.sequence for row in store.write([draft()], [])] == [3]


def test_a_process_killed_within_a_transaction_kept_nothing_of_it(path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from uuid import uuid4
from gateway import store as store_module
from gateway.store import Draft, Store
store = Store(Path(sys.argv[1]))
store.write([Draft(uuid4(), 1, "cuff", "reading", lambda _, n: b"first")], [])
die = lambda _, n: os.kill(os.getpid(), signal.SIGKILL)
second = Draft(uuid4(), 1, "cuff", "reading", lambda _, n: b"second")
store.write([second, Draft(uuid4(), 1, "cuff", "reading", die)], [])
"""
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=30)
    assert killed.returncode == -9
    with closing(Store(path)) as store:
        assert [row.payload for row in store.waiting(0, 10, ())] == [b"first"]
        assert [row.sequence for row in store.write([draft()], [])] == [2]


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["keep", "again", "fail", "deliver", "purge"]), st.integers(1, 4), st.booleans()),
        max_size=20,
    )
)
def test_sequences_have_no_gaps_whatever_happens(
    steps: list[tuple[str, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store") / "outbox.db"
    given_out: list[int] = []
    known: list[UUID] = []
    store = Store(path)
    try:
        for step, count, restart in steps:
            if step == "keep":
                new = [uuid4() for _ in range(count)]
                given_out += [row.sequence for row in store.write([draft(ident) for ident in new], [])]
                known += new
            elif step == "again":
                rows = store.write([draft(ident) for ident in known[-count:]], [])
                given_out += [row.sequence for row in rows]  # what was purged may be kept anew
            elif step == "fail":
                with pytest.raises(ValueError, match="zone"):
                    store.write([*(draft() for _ in range(count)), Draft(uuid4(), 1, "c", "t", failing)], [])
            elif step == "deliver":
                store.write([], delivered(*sequences(store, limit=count)))
            else:
                store.purge(time.time() + 1)
            if restart:
                store.close()
                store = Store(path)
    finally:
        store.close()
    assert given_out == list(range(1, len(given_out) + 1))


# ---- rows and what becomes of them -----------------------------------------------------------------------------------


def test_waiting_answers_oldest_first_behind_a_sequence_bounded_and_without_some_topics(store: Store) -> None:
    store.write([draft(topic=QUARANTINE if number % 3 == 0 else READING) for number in range(1, 10)], [])
    assert sequences(store) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert sequences(store, after=4, limit=2) == [5, 6]
    assert sequences(store, without=(QUARANTINE,)) == [1, 2, 4, 5, 7, 8]
    assert sequences(store, without=(READING, QUARANTINE)) == []
    assert [row.sequence for row in store.oldest_waiting(QUARANTINE)] == [3]
    store.write([], [*delivered(1, 3), Mark(2, "parked", "packet_too_large")])
    assert sequences(store) == [4, 5, 6, 7, 8, 9]
    assert [row.sequence for row in store.oldest_waiting(QUARANTINE)] == [6]
    assert store.oldest_waiting("vitals/v1/northside/exam-3/test/reading") == []


def test_a_mark_is_final(store: Store) -> None:
    store.write([draft(), draft()], [])
    store.write([], [Mark(1, "parked", "packet_too_large"), *delivered(2)])
    store.write([], [*delivered(1), Mark(2, "parked", "packet_too_large")])
    found = store._db.execute("SELECT sequence, state, reason FROM delivery ORDER BY sequence").fetchall()
    assert found == [(1, "parked", "packet_too_large"), (2, "delivered", "success")]


def test_a_row_never_changes(store: Store) -> None:
    ident = uuid4()
    store.write([draft(ident)], [])
    before = store._db.execute("SELECT * FROM reading").fetchall()
    store.write([draft(ident, size=10, topic=QUARANTINE)], [])
    store.write([draft(ident, 2)], delivered(1))
    assert store._db.execute("SELECT * FROM reading WHERE revision = 1").fetchall() == before


def test_depth_tells_what_waits_since_when_and_what_is_parked(store: Store) -> None:
    assert store.depth() == (0, None, 0)
    before = time.time()
    store.write([draft(), draft(), draft()], [])
    store.write([draft()], [*delivered(1), Mark(2, "parked", "packet_too_large")])
    waiting, oldest, parked = store.depth()
    assert (waiting, parked) == (2, 1)
    assert oldest is not None
    assert before <= oldest <= time.time()


def test_last_payloads_are_those_of_one_device_oldest_first(store: Store) -> None:
    other = Draft(uuid4(), 1, "scale", READING, lambda *_: b"scale")
    store.write([draft(), draft(), other, draft()], delivered(1))
    assert store.last_payloads("cuff", 2) == [b"2 ", b"4 "]
    assert store.last_payloads("nobody", 2) == []
    store._db.execute("UPDATE reading SET payload = x'00' WHERE sequence = 2")
    assert store.last_payloads("cuff", 3) == [b"1 ", b"4 "], "what is damaged is no reading to compare with"


def test_only_delivered_rows_are_purged_and_only_those_before_the_time(store: Store) -> None:
    store.write([draft() for _ in range(4)], [])
    store.write([], [*delivered(1, 2), Mark(3, "parked", "packet_too_large")])
    store._db.execute("UPDATE delivery SET at = 1000 WHERE sequence IN (1, 3)")
    assert store.purge(1000) == 0
    assert store.purge(1001) == 1
    assert [row[0] for row in store._db.execute("SELECT sequence FROM reading")] == [2, 3, 4]
    assert [row[0] for row in store._db.execute("SELECT sequence FROM delivery")] == [2, 3, 4]


def test_the_keeping_time_of_a_damaged_row_counts_from_when_the_clock_is_right(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found at boot, in 1970: dated then, it would be gone with the first purge, before anybody has seen it."""
    store.write([draft()], [])
    store._db.execute("UPDATE reading SET payload = x'00'")
    with monkeypatch.context() as boot:
        boot.setattr(time, "time", lambda: 10.0)
        assert store.waiting(0, 10, ()) == []
    assert store.purge(0.0, time.time() - 1) == 0
    assert store.purge(0.0, time.time() + 1) == 1


def test_purging_goes_in_portions(store: Store) -> None:
    store.write([draft() for _ in range(1500)], [])
    store.write([], delivered(*range(1, 1501)))
    assert [store.purge(time.time() + 1) for _ in range(3)] == [1000, 500, 0]


@pytest.mark.parametrize("size", [20, 20_000])
def test_a_purged_reading_is_found_in_no_file_any_more(path: Path, size: int) -> None:
    secrets = (b"PAYLOAD-OF-A-PATIENT", b"FRAME-OF-A-PATIENT")
    with closing(Store(path)) as store:
        secret = Draft(uuid4(), 1, "cuff", READING, lambda *_: secrets[0] * (size // 20), raw=secrets[1])
        store.write([draft(size=50), secret, draft(size=50)], [])
        assert all(_files_hold(path, text) for text in secrets)
        store.write([], delivered(2))
        store.purge(time.time() + 1)
        assert not any(_files_hold(path, text) for text in secrets)
        assert sequences(store) == [1, 3]


def _files_hold(path: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in path.parent.iterdir())


def test_retained_topics_are_remembered_until_they_are_cleared(path: Path) -> None:
    with closing(Store(path)) as store:
        assert store.replace_retained(["B/gateway", "B/device/cuff"]) == []
    with closing(Store(path)) as store:
        assert store.replace_retained(["B/gateway", "B/device/scale"]) == ["B/device/cuff"]
    with closing(Store(path)) as store:  # not cleared yet: named again
        assert store.replace_retained(["B/gateway"]) == ["B/device/cuff", "B/device/scale"]
        store.forget_retained("B/device/cuff")
        store.forget_retained("B/device/scale")
        assert store.replace_retained(["B/gateway"]) == []


def test_after_a_failure_in_the_middle_the_next_transaction_finds_the_way_free(store: Store) -> None:
    store._db.execute("CREATE TEMP TRIGGER no BEFORE INSERT ON retained BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        store.replace_retained(["B/gateway"])
    assert [row.sequence for row in store.write([draft()], [])] == [1]


# ---- the file --------------------------------------------------------------------------------------------------------


def test_what_is_committed_is_on_the_card(store: Store) -> None:
    """Law 1: read back on the live connection. 2 is FULL: https://www.sqlite.org/pragma.html#pragma_synchronous."""
    pragmas = {
        name: store._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}


@pytest.mark.parametrize("together", [1, 2, 70])
def test_nothing_that_a_commit_asks_looks_through_what_is_kept(store: Store, path: Path, together: int) -> None:
    """Else a reading costs more the more are kept. Told by SQLite's plans, the optimizer having nothing to go by."""
    asked: set[str] = set()
    store._db.set_trace_callback(asked.add)
    rows = store.write([draft() for _ in range(together)], [])
    store.write([draft() for _ in range(together)], delivered(*(row.sequence for row in rows)))
    store.find_room()
    store._db.set_trace_callback(None)
    with closing(sqlite3.connect(path)) as db:
        plans = [
            (statement, step[3])
            for statement in asked
            if not statement.startswith(("BEGIN", "COMMIT", "PRAGMA", "--"))
            for step in db.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
    assert len({statement for statement, _ in plans}) >= 5
    tables = ("reading", "delivery", "record", "uncertain_time", "replay")
    assert [plan for plan in plans if plan[1].startswith(tuple(f"SCAN {table}" for table in tables))] == []


def test_only_the_services_user_may_read_its_files(store: Store, path: Path) -> None:
    store.write([draft()], [])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db.lock"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_stream_is_the_databases_own_and_stays(path: Path, tmp_path: Path) -> None:
    with closing(Store(path)) as store:
        stream = store.stream
    with closing(Store(path)) as store:
        assert store.stream == stream
    with closing(Store(tmp_path / "other.db")) as other:
        assert other.stream != stream


def test_a_second_gateway_is_told_that_the_outbox_is_in_use(store: Store, path: Path) -> None:
    with pytest.raises(OutboxError, match=r"outbox\.db is in use by another vitals-gateway: stop that one first"):
        Store(path)
    store.write([draft()], [])  # and the first is none the worse for it


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    Store(path).close()
    _execute(path, "PRAGMA user_version = 99")
    for _ in range(2):  # the lock is let go
        with pytest.raises(OutboxError, match=r"newer vitals-gateway \(schema 99, this one knows \d+\): install that"):
            Store(path)
    assert _execute(path, "PRAGMA user_version") == [(99,)]


def test_a_file_that_is_no_database_is_set_aside_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    letter = b"this is no database, it is someone's letter " * 100
    path.write_bytes(letter)
    for _ in range(2):
        with closing(Store(path)) as store:
            (damage,) = store.condition().set_aside
            assert damage.found == "file is not a database"
    assert (tmp_path / damage.file).read_bytes() == letter


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").mkdir()
    for _ in range(2):
        with pytest.raises(OutboxError, match=r"outbox\.db cannot be written \(Is a directory\)"):
            Store(tmp_path / "outbox.db")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir(mode=0o500)
    nobody = 65534
    try:
        if os.geteuid() == 0:  # whom no mode stops
            os.seteuid(nobody)
        with pytest.raises(OutboxError, match=r"cannot be written \(Permission denied\): give its folder to"):
            Store(folder / "outbox.db")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match=r"cannot be written \((File exists|Not a directory)\)"):
        Store(tmp_path / "file" / "outbox.db")


# ---- records ---------------------------------------------------------------------------------------------------------


def recorded(ident: UUID, record: UUID) -> Draft:
    """A reading of a device's record; as a repeat it is held, and says whose."""

    def as_repeat_of(earlier: UUID) -> Draft:
        return Draft(ident, 1, "cuff", QUARANTINE, lambda _, sequence: b"%d repeats %b" % (sequence, earlier.bytes))

    return Draft(ident, 1, "cuff", READING, lambda _, sequence: b"%d" % sequence, b"raw", record, as_repeat_of)


def test_a_record_that_comes_again_under_its_id_is_one_reading(store: Store) -> None:
    ident = uuid4()
    assert len(store.write([recorded(ident, ident)], [])) == 1
    assert all(kept is not None for kept in store.became)
    other = uuid4()
    assert [row.sequence for row in store.write([recorded(ident, ident), recorded(other, other)], [])] == [2]
    assert [kept is None for kept in store.became] == [True, False]


def test_a_record_twice_in_one_commit_is_one_reading(store: Store) -> None:
    ident = uuid4()
    assert [row.sequence for row in store.write([recorded(ident, ident)] * 2 + [draft()], [])] == [1, 2]
    assert [kept is None for kept in store.became] == [False, True, False]


def test_of_a_reading_twice_in_one_commit_the_first_is_kept(store: Store) -> None:
    ident = uuid4()
    assert len(store.write([draft(ident, topic=QUARANTINE), draft(ident)], [])) == 1
    assert [kept and kept.topic for kept in store.became] == [QUARANTINE, None]


def test_a_record_that_its_device_tells_each_time_is_kept_once_whatever_its_id(store: Store) -> None:
    record, first, second = uuid4(), uuid4(), uuid4()
    drafts = [replace(recorded(ident, record), as_repeat_of=None) for ident in (first, second)]
    assert [row.payload for row in store.write(drafts[:1], [])] == [b"1"]
    assert store.write(drafts[1:], []) == []
    assert store.became == (None,)


def test_a_record_that_was_told_under_another_id_names_it(store: Store) -> None:
    record, first, second = uuid4(), uuid4(), uuid4()
    rows = store.write([recorded(first, record), recorded(second, record)], [])
    assert [(row.topic, row.payload) for row in rows] == [(READING, b"1"), (QUARANTINE, b"2 repeats " + first.bytes)]
    (third,) = store.write([recorded(uuid4(), record)], [])
    assert third.payload == b"3 repeats " + first.bytes


def test_a_record_is_known_when_its_reading_is_long_gone(path: Path) -> None:
    ident = uuid4()
    with closing(Store(path)) as store:
        store.write([recorded(ident, ident)], [])
        store.write([], delivered(1))
        assert store.purge(time.time() + 1) == 1
    with closing(Store(path)) as store:
        assert store.last_payloads("cuff", 10) == []
        assert store.write([recorded(ident, ident)], []) == []
        assert store.became == (None,)


def test_a_record_that_did_not_commit_is_not_known(store: Store) -> None:
    ident = uuid4()
    with pytest.raises(ValueError, match="without a zone"):
        store.write([recorded(ident, ident), Draft(uuid4(), 1, "cuff", READING, failing)], [])
    assert [row.sequence for row in store.write([recorded(ident, ident)], [])] == [1]


def test_only_so_many_records_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "RECORDS_REMEMBERED", 2)
    records = [uuid4() for _ in range(4)]
    store.write([recorded(ident, ident) for ident in records], [])
    store.write([], delivered(1, 2, 3, 4))
    store.purge(time.time() + 1)
    for ident in reversed(records):
        store.write([recorded(ident, ident)], [])
        assert (store.became == (None,)) is (ident in records[2:])


def test_up_to_where_a_clock_is_unsure_is_remembered_and_forgotten(path: Path) -> None:
    until = datetime.fromisoformat("2026-11-22T13:05:09")
    with closing(Store(path)) as store:
        assert store.unsure_until("C8:1E:8E:00:00:01") is None
        store.note_unsure_until("C8:1E:8E:00:00:01", until)
    with closing(Store(path)) as store:
        assert store.unsure_until("C8:1E:8E:00:00:01") == until
        assert store.unsure_until("C8:1E:8E:00:00:02") is None
        store.note_unsure_until("C8:1E:8E:00:00:01", None)
        assert store.unsure_until("C8:1E:8E:00:00:01") is None


def _execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchall()


@pytest.mark.parametrize("database", sorted(DATABASES.glob("*.db")), ids=lambda file: file.stem)
def test_an_outbox_of_every_past_schema_is_opened_with_all_that_it_holds(database: Path, tmp_path: Path) -> None:
    """Each holds five rows: 1 delivered, 2 parked, 3 waiting, 4 a revision of 3 and waiting, 5 purged."""
    shutil.copy(database, tmp_path / "outbox.db")
    with closing(Store(tmp_path / "outbox.db")) as store:
        assert store.stream == UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
        assert [(row.sequence, row.topic, row.payload) for row in store.waiting(0, 10, ())] == [
            (3, QUARANTINE, b'{"sequence": 3}'),
            (4, READING, b'{"sequence": 4}'),
        ]
        assert store.depth()[::2] == (2, 1)
        assert store.last_payloads("cuff", 10) == [
            b'{"sequence": %d}' % number for number in (1, 2, 3)
        ]  # 4 is no first revision
        assert store.replace_retained([]) == ["vitals/v1/northside/exam-3/gateway"]
        twice = UUID("00000000-0000-4000-8000-000000000003")
        assert [row.sequence for row in store.write([draft(twice, 2), draft(twice, 3)], delivered(3))] == [6]
        assert sequences(store) == [4, 6]


def test_records_and_clocks_of_the_third_schema_are_known(tmp_path: Path) -> None:
    shutil.copy(DATABASES / "outbox-schema-3.db", tmp_path / "outbox.db")
    with closing(Store(tmp_path / "outbox.db")) as store:
        assert store.unsure_until("C8:1E:8E:00:00:01") == datetime.fromisoformat("2026-11-22T13:05:09")
        first = UUID("00000000-0000-4000-8000-000000000001")
        again = replace(draft(first, 2), record=UUID(int=0x51))
        assert store.write([again], []) == []
        assert store.became == (None,)


def test_there_is_a_database_of_every_schema() -> None:
    migrations = Path(__file__).parents[2] / "gateway" / "migrations"
    newest = len(list(migrations.glob("[0-9]*.sql")))
    expected = [f"outbox-schema-{number}" for number in range(1, newest + 1)]
    assert sorted(file.stem for file in DATABASES.glob("*.db")) == expected
