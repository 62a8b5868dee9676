"""A damaged outbox is replaced: what is intact goes on under its id, what is not is never sent, the file stays."""

from __future__ import annotations

import json
import logging
import random
import re
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from gateway.outbox import Outbox
from gateway.rows import Captured
from gateway.store import Draft, Mark, Row, Store
from proofs.disk import Disk, compiled

DATABASES = Path(__file__).parent / "databases"
READING = "vitals/v1/northside/exam-3/reading"


def draft(number: int, ident: UUID | None = None, record: UUID | None = None) -> Draft:
    def encode(stream: UUID, sequence: int) -> bytes:
        words = '{"number":%d,"value":%d.50,"tiny":0.0000001,"stream":"%s","sequence":%d,"filler":"%s"}'
        return (words % (number, number, stream, sequence, "x" * 200)).encode()

    return Draft(ident or UUID(int=number), 1, "cuff", READING, encode, b"raw", record)


def filled(path: Path, count: int = 30) -> Path:
    """An outbox with so many rows: every third delivered, the fifth parked."""
    with closing(Store(path)) as store:
        store.write([draft(number, record=UUID(int=1000 + number)) for number in range(1, count + 1)], [])
        store.write([], [Mark(5, "parked", "packet_too_large")])
        store.write([], [Mark(number, "delivered", "success") for number in range(3, count + 1, 3)])
    return path


def rows(store: Store) -> list[tuple[UUID, str, bytes]]:
    found = store._db.execute("SELECT id, state, payload FROM reading JOIN delivery USING (sequence) ORDER BY sequence")
    return [(UUID(bytes=ident), state, payload) for ident, state, payload in found.fetchall()]


def flip(path: Path, at: int, mask: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def test_what_was_not_delivered_is_taken_over_under_its_id_into_a_new_stream_without_a_gap(tmp_path: Path) -> None:
    path = filled(tmp_path / "outbox.db")
    with closing(Store(path)) as store:
        old = store.stream
    flip(path, 3)
    damaged = path.read_bytes()
    with closing(Store(path)) as store:
        assert store.stream != old
        wanted = [number for number in range(1, 31) if number % 3]
        assert [ident.int for ident, _, _ in rows(store)] == wanted
        assert [state for _, state, _ in rows(store)] == ["parked" if number == 5 else "waiting" for number in wanted]
        for sequence, (number, (_, _, payload)) in enumerate(zip(wanted, rows(store), strict=True), 1):
            told = json.loads(payload)
            assert (told["stream"], told["sequence"], told["number"]) == (str(store.stream), sequence, number)
            assert b'"value":%d.50,"tiny":0.0000001,' % number in payload, "the device's digits"
        assert [row.sequence for row in store.write([draft(99)], [])] == [21]
        known = store.write([draft(77, UUID(int=1), record=UUID(int=1001))], [])
        assert known == [], "a record that comes again is known"
        (damage,) = store.condition().set_aside
        assert (damage.salvaged, damage.lost) == (20, 0)
    aside = tmp_path / damage.file
    assert aside.name.startswith("outbox.db.damaged-")
    assert aside.read_bytes() == damaged
    assert {file.name for file in tmp_path.iterdir()} == {"outbox.db", "outbox.db.lock", aside.name}


@pytest.mark.parametrize("database", sorted(DATABASES.glob("*.db")), ids=lambda file: file.stem)
def test_a_damaged_outbox_of_every_past_schema_is_salvaged(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    shutil.copy(database, path)
    flip(path, 3)
    with closing(Store(path)) as store:
        assert [(ident, state) for ident, state, _ in rows(store)] == [
            (UUID("00000000-0000-4000-8000-000000000002"), "parked"),
            (UUID("00000000-0000-4000-8000-000000000003"), "waiting"),
            (UUID("00000000-0000-4000-8000-000000000003"), "waiting"),
        ]


def test_the_time_of_a_reading_that_was_taken_over_can_still_be_corrected(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Store(path)) as store:
        captured = Captured("boot", 61.5, "unsynced")
        store.write([replace(draft(n), captured=captured, characteristic="2A35") for n in (1, 2)], [])
        store.write([], [Mark(1, "delivered", "success")])
    flip(path, 3)
    with closing(Store(path)) as store:
        (row,) = store.uncertain("boot", 10)
        assert (row.id, row.sequence, row.instant, row.quality) == (UUID(int=2), 1, 61.5, "unsynced")
        assert row.characteristic == "2A35"


@pytest.mark.parametrize("table", ["reading", "delivery"])
def test_one_bit_in_the_description_of_a_table_hides_none_of_its_rows(table: str, tmp_path: Path) -> None:
    path = filled(tmp_path / "outbox.db")
    flip(path, path.read_bytes().index(b"CREATE TABLE " + table.encode()) + 3)
    with closing(Store(path)) as store:
        assert [ident.int for ident, _, _ in rows(store)] == [number for number in range(1, 31) if number % 3]
        (damage,) = store.condition().set_aside
        assert (damage.salvaged, damage.lost) == (20, 0)


def test_a_row_whose_checksum_is_wrong_is_not_taken_over_and_counted(tmp_path: Path) -> None:
    path = filled(tmp_path / "outbox.db")
    content = path.read_bytes()
    assert content.count(b'"value":7.50') == 1
    path.write_bytes(content.replace(b'"value":7.50', b'"value":7.51'))
    flip(path, 3)
    with closing(Store(path)) as store:
        assert UUID(int=7) not in {ident for ident, _, _ in rows(store)}
        (damage,) = store.condition().set_aside
        assert (damage.salvaged, damage.lost) == (19, 1)
        assert [row.sequence for row in store.waiting(0, 3, ())] == [1, 2, 3]


def test_whatever_bit_is_flipped_it_opens_and_gives_no_row_that_was_not_kept(tmp_path: Path) -> None:
    """One bit, anywhere in the file: each row is sent as it was kept, or shown as parked or lost."""
    path = filled(tmp_path / "sound" / "outbox.db")
    sound, chance = path.read_bytes(), random.Random(20261124)
    with closing(Store(path)) as store:
        kept = {ident: _without_place(payload) for ident, _, payload in rows(store)}
    for number in range(175):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = folder / "outbox.db"
        at = number if number < 100 else chance.randrange(4096 if number < 140 else len(sound))
        file.write_bytes(sound)
        flip(file, at, 1 << chance.randrange(8))
        with closing(Store(file)) as store:
            found = store.what_is_wrong()
        with closing(Store(file, found=found)) as store:
            waiting = store.waiting(0, 100, ())
            shown = store.condition().damaged + sum(damage.lost for damage in store.condition().set_aside)
        for row in waiting:
            assert _without_place(row.payload) == kept[UUID(int=json.loads(row.payload)["number"])]
        assert len({json.loads(row.payload)["number"] for row in waiting}) + shown >= 19, at


def _without_place(payload: bytes) -> dict[str, object]:
    return {name: value for name, value in json.loads(payload).items() if name not in ("stream", "sequence")}


@pytest.mark.parametrize("first", [1, 2])
def test_salvaging_that_is_killed_at_any_disk_call_is_done_by_the_next_start(first: int, tmp_path: Path) -> None:
    source = filled(tmp_path / "source" / "outbox.db", 6)
    flip(source, 3)
    folder = tmp_path / "killed"
    disk, number = Disk(compiled(tmp_path), folder / "outbox.db", tmp_path), first - 2
    program = "import sys; from pathlib import Path; from gateway.store import Store; Store(Path(sys.argv[1])).close()"
    ended = -9
    while ended == -9:
        number += 2
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(source, folder / "outbox.db")
        disk.set(calls=0, kill_at=number)
        command = [sys.executable, "-c", program, str(folder / "outbox.db")]
        ended = subprocess.run(command, env=disk.environment, check=False, timeout=30).returncode
        with closing(Store(folder / "outbox.db")) as store:
            assert [ident.int for ident, _, _ in rows(store)] == [1, 2, 4, 5], number
            assert len(store.condition().set_aside) == 1
    assert (ended, number > 20) == (0, True)


def test_a_word_on_a_parked_row_that_is_damaged_costs_no_other_row(tmp_path: Path) -> None:
    """One bit makes a BLOB of the reason, which no column takes: the rows behind it are taken over all the same."""
    path = filled(tmp_path / "outbox.db")
    text = bytes([13 + 2 * len("packet_too_large")])  # the type of the reason, in the header of the record
    found = re.search(re.escape(text) + rb"[^a-z]*parked.{8}packet_too_large", path.read_bytes(), re.DOTALL)
    assert found is not None
    flip(path, found.start())
    with closing(Store(path, found="flipped")) as store:
        assert [ident.int for ident, _, _ in rows(store)] == [number for number in range(1, 31) if number % 3]


@pytest.mark.parametrize("step", range(40, 76, 4))
def test_a_disk_that_fills_up_while_it_is_salvaged_costs_no_row(step: int, tmp_path: Path) -> None:
    """However little room there is: the damaged file stays in place, or the new one holds all of it."""
    folder = tmp_path / "small"
    source = filled(folder / "outbox.db", 60)
    flip(source, 3)
    disk = Disk(compiled(tmp_path), folder / "outbox.db", tmp_path)
    disk.set(room=source.stat().st_size + step * 4096)  # the copy; then the log of the new one, and its pages
    program = (
        "import sys; from pathlib import Path; from gateway.store import OutboxUnavailable, Store\n"
        "try: Store(Path(sys.argv[1])).close()\n"
        "except OutboxUnavailable: pass\n"
    )
    command = [sys.executable, "-c", program, str(folder / "outbox.db")]
    assert subprocess.run(command, env=disk.environment, check=False, timeout=30).returncode == 0
    with closing(Store(folder / "outbox.db")) as store:
        assert [ident.int for ident, _, _ in rows(store)] == [number for number in range(1, 61) if number % 3]
        assert len(store.condition().set_aside) == 1


def test_a_log_without_its_database_is_kept(tmp_path: Path) -> None:
    """Somebody, or a repair of the file system, took the database: SQLite would throw its log away."""
    log = tmp_path / "outbox.db-wal"
    log.write_bytes(b"frames")
    with closing(Store(tmp_path / "outbox.db")) as store:
        (damage,) = store.condition().set_aside
    assert (tmp_path / damage.file).read_bytes() == b"frames"


async def test_damage_that_shows_in_the_middle_of_work_costs_no_reading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The new stream's sequences begin behind the old one's: a PUBACK for an old row marks none of the new."""
    kept: list[Row] = []
    outbox = Outbox(filled(tmp_path / "outbox.db"), kept.extend)
    await outbox.ask(lambda store: None)
    old = outbox.stream
    await outbox.ask(_ruin)
    await outbox.keep([draft(50)])
    await outbox.keep([draft(51)])
    outbox.mark(Mark(1, "delivered", "success"))
    state = await outbox.state()
    await outbox.close()
    assert outbox.stream != old
    told = [row.sequence for row in kept]
    assert told == sorted(set(told))
    assert told[0] == 31, "behind all of the old one; 5 is parked, and is told nobody"
    assert {50, 51} <= {json.loads(row.payload)["number"] for row in kept}
    assert (state.held_back, state.depth) == (0, 21)
    assert caplog.records[0].levelno == logging.ERROR


def _ruin(store: Store) -> None:
    """Flip a bit of the file under the open database, and make SQLite look at it again."""
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (page,) = store._db.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_reading_1'"
    ).fetchone()
    flip(store._path, (page - 1) * 4096, mask=0x55)
    store._db.execute("PRAGMA shrink_memory")
    store._db.execute("PRAGMA cache_size = 0")
