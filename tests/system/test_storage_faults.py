"""What the service does when its disk fails: the real process, on a disk (proofs/disk.c) that does as it is told.

Each test says what becomes of the readings. In each the scale is read on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from proofs.disk import Disk, compiled
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

NewPort = Callable[[str], PtyPort]

pytestmark = pytest.mark.timeout(180)  # several starts and stops each


@pytest.fixture
def disk(gateway: Any, tmp_path: Path) -> Disk:
    disk = Disk(compiled(tmp_path), gateway.outbox, tmp_path)
    gateway.environment = disk.environment
    return disk


class Scale:
    """Says a weight at a time; each is another."""

    def __init__(self, port: PtyPort, gateway: Any) -> None:
        self._port, self._gateway, self.said = port, gateway, 0

    async def weigh(self, count: int = 1) -> None:
        """Weigh, and wait until the service has read it, whatever its disk does."""
        for _ in range(count):
            self.said += 1
            self._port.write(f"ST,{20 + self.said / 1000:+09.3f} kg\r\n".encode())
        await self._gateway.until(lambda status: status["devices"]["scale"]["counts"]["samples"] == self.said)

    def restarted(self) -> None:
        self.said = 0


@pytest.fixture
def scale(gateway: Any, new_port: NewPort) -> Scale:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    return Scale(port, gateway)


@asynccontextmanager
async def running(gateway: Any) -> AsyncIterator[None]:
    await gateway.start()
    await gateway.until(lambda status: status["devices"]["scale"]["reason"] == "not_heard_yet")
    yield
    assert await gateway.stop() == 0


def outbox(holds: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    return lambda status: holds(status["outbox"])


def arrived(number: int) -> Callable[[Chart], bool]:
    return lambda chart: len(chart.readings) == number


# ---- a disk that takes nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"room": 0}, "full"),
        ({"write_errno": errno.EROFS}, "error"),
        ({"write_errno": errno.EIO}, "error"),
        ({"sync_errno": errno.EIO}, "error"),
    ],
    ids=["full", "read-only", "write-error", "sync-error"],
)
async def test_a_disk_that_fails_in_the_middle_costs_no_reading(
    gateway: Any, scale: Scale, disk: Disk, chart: Chart, fault: dict[str, int], word: str
) -> None:
    """They wait in memory, the state says so, and they are kept and sent once the disk is well."""
    async with running(gateway):
        await scale.weigh(3)
        await chart.wait_for(arrived(3), timeout=20)
        disk.set(**fault)
        await scale.weigh(4)
        status = await gateway.until(outbox(lambda outbox: outbox["held_back"] == 4))
        assert word in status["outbox"]["trouble"]
        assert len(chart.readings) == 3, "nobody hears of a reading that is not on disk"
        disk.heal()
        await chart.wait_for(arrived(7), timeout=20)
        status = await gateway.until(outbox(lambda outbox: outbox["held_back"] == 0 and outbox["depth"] == 0))
        assert (status["outbox"]["not_kept"], status["outbox"]["trouble"]) == (0, None)
    assert not chart.gaps


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"open_errno": errno.EROFS}, "Read-only file system"),
        ({"open_errno": errno.EACCES}, "Permission denied"),
        ({"room": 0}, "No space left"),
        ({"sync_errno": errno.EIO}, "error"),
    ],
    ids=["read-only", "wrong owner", "full", "sync-error"],
)
async def test_a_start_without_a_disk_reads_the_devices_and_waits_for_it(
    gateway: Any, scale: Scale, disk: Disk, chart: Chart, fault: dict[str, int], word: str
) -> None:
    disk.set(**fault)
    async with running(gateway):
        await scale.weigh(3)
        status = await gateway.until(outbox(lambda outbox: outbox["held_back"] == 3))
        assert word in status["outbox"]["trouble"]
        disk.heal()
        await chart.wait_for(arrived(3), timeout=20)
        await gateway.until(outbox(lambda outbox: outbox["held_back"] == 0 and outbox["trouble"] is None))
    assert not chart.gaps
    assert len({payload["stream"] for payload in chart.readings.values()}) == 1


async def test_a_file_that_the_disk_does_not_read_is_tried_until_it_does(
    gateway: Any, scale: Scale, disk: Disk, chart: Chart
) -> None:
    """An error at reading: what comes meanwhile waits in memory."""
    async with running(gateway):
        await scale.weigh(3)
        await chart.wait_for(arrived(3), timeout=20)
    scale.restarted()
    disk.set(read_errno=errno.EIO)
    async with running(gateway):
        await scale.weigh(2)
        await gateway.until(outbox(lambda outbox: outbox["held_back"] == 2))
        disk.heal()
        await chart.wait_for(arrived(5), timeout=30)
        await gateway.until(outbox(lambda outbox: outbox["held_back"] == 0))


async def test_readings_beyond_what_memory_holds_are_counted_as_not_kept(
    gateway: Any, scale: Scale, disk: Disk, chart: Chart
) -> None:
    async with running(gateway):
        disk.set(write_errno=errno.ENOSPC)
        for _ in range(11):
            await scale.weigh(100)
        status = await gateway.until(outbox(lambda outbox: outbox["not_kept"] == 100))
        assert status["outbox"]["held_back"] == 1000
        disk.heal()
        await chart.wait_for(arrived(1000), timeout=30)
    assert not chart.gaps


# ---- a file that is damaged ------------------------------------------------------------------------------------------


def damage_header(path: Path) -> None:
    _flip(path, 3)


def damage_index(path: Path) -> None:
    """An index that counts two entries for three: no query would ever show it, and the last row would wait for ever."""
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'delivery_waiting'").fetchone()
    assert path.read_bytes()[(page - 1) * 4096 + 4] == 3
    _flip(path, (page - 1) * 4096 + 4)


def damage_table(path: Path) -> None:
    """The root of a table: its type is none any more."""
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'retained'").fetchone()
    _flip(path, (page - 1) * 4096, mask=0x55)


def _flip(path: Path, at: int, mask: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [damage_header, damage_index, damage_table])
async def test_a_flipped_bit_costs_no_reading_that_waits(
    gateway: Any, scale: Scale, broker: Any, chart: Chart, damage: Callable[[Path], None]
) -> None:
    """What waits is taken over into a new stream under its own id; the file stands aside, and the state says so."""
    async with running(gateway):
        await scale.weigh(2)
        await gateway.until(outbox(lambda outbox: outbox["depth"] == 0))
        await broker.kill()
        await gateway.until(lambda status: status["broker"]["connected_to"] is None)
        await scale.weigh(3)
    ids = _waiting(gateway.outbox)
    old = gateway.outbox.read_bytes()
    damage(gateway.outbox)
    assert gateway.outbox.read_bytes() != old
    scale.restarted()
    await broker.start()
    async with running(gateway):
        await chart.wait_for(lambda chart: ids <= set(chart.readings), timeout=20)
        await scale.weigh(1)
        await chart.wait_for(arrived(6), timeout=20)
        status = await gateway.until(outbox(lambda outbox: outbox["depth"] == 0))
        (aside,) = status["outbox"]["set_aside"]
        # A forgotten row is found by the check of the whole file; the broker may have the other two by then.
        assert aside["lost"] == 0
        assert aside["salvaged"] in ({1, 2, 3} if damage is damage_index else {3})
        assert "set aside" in status["outbox"]["trouble"]
    file = gateway.outbox.with_name(aside["file"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(gateway.folder.glob("*.copy*"))
    assert not chart.gaps
    (gateway.folder / aside["file"]).unlink()
    scale.restarted()
    async with running(gateway):
        await gateway.until(outbox(lambda outbox: outbox["set_aside"] == [] and outbox["trouble"] is None))


def _waiting(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute(
            "SELECT json_extract(payload, '$.id') FROM reading JOIN delivery USING (sequence) WHERE state = 'waiting'"
        )
        return {ident for (ident,) in found}


async def test_a_row_with_a_flipped_bit_is_parked_and_never_sent(
    gateway: Any, scale: Scale, broker: Any, chart: Chart
) -> None:
    """The others go out; the damaged one is counted and shown, and its bytes stay for somebody to look at."""
    await broker.kill()
    async with running(gateway):
        await scale.weigh(3)
    content = gateway.outbox.read_bytes()
    assert content.count(b'"value":20.002,') == 1
    gateway.outbox.write_bytes(content.replace(b'"value":20.002,', b'"value":20.012,'))
    scale.restarted()
    await broker.start()
    async with running(gateway):
        await chart.wait_for(arrived(2), timeout=20)
        status = await gateway.until(outbox(lambda outbox: outbox["depth"] == 0))
        assert (status["outbox"]["parked"], status["outbox"]["damaged"]) == (1, 1)
        assert status["outbox"]["trouble"] == "1 damaged readings are parked"
    values = {payload["vitals"][0]["value"] for payload in chart.readings.values()}
    assert {str(value) for value in values} == {"20.001", "20.003"}


@pytest.mark.parametrize("size", [0, 100, 5000, 20480], ids=str)
async def test_a_truncated_file_is_set_aside_and_the_service_goes_on(
    gateway: Any, scale: Scale, broker: Any, chart: Chart, size: int
) -> None:
    """What its pages still hold is taken over; the rest is gone with them."""
    await broker.kill()
    async with running(gateway):
        await scale.weigh(10)
    os.truncate(gateway.outbox, size)
    scale.restarted()
    await broker.start()
    async with running(gateway):
        await scale.weigh(2)
        status = await gateway.until(outbox(lambda outbox: outbox["depth"] == 0 and len(outbox["set_aside"]) == 1))
        (aside,) = status["outbox"]["set_aside"]
        await chart.wait_for(arrived(2 + aside["salvaged"]), timeout=20)
    assert (gateway.folder / aside["file"]).stat().st_size == size
    assert not chart.gaps


async def test_a_damaged_log_gives_what_was_committed_before_the_damage(
    gateway: Any, scale: Scale, broker: Any, chart: Chart
) -> None:
    """SQLite's own checksums end the log at the damage: the rows behind it are lost, the database is well."""
    await broker.kill()
    async with running(gateway):
        await scale.weigh(1)
        for _ in range(4):
            await scale.weigh(1)
        await gateway.until(outbox(lambda outbox: outbox["depth"] == 5))
        await gateway.kill()
        log = gateway.outbox.with_name("outbox.db-wal")
        _flip(log, log.stat().st_size - 100)
        scale.restarted()
        await broker.start()
        await gateway.start()
        await gateway.until(outbox(lambda outbox: outbox["depth"] == 0))
        await scale.weigh(1)
        await chart.wait_for(lambda chart: len(chart.readings) >= 5, timeout=20)
    assert not chart.gaps


# ---- other versions, other users -------------------------------------------------------------------------------------


async def test_an_outbox_of_a_newer_gateway_is_refused_for_good_and_left_alone(gateway: Any, scale: Scale) -> None:
    """78: systemd does not try again. Nothing is lost: the newer version finds all of it."""
    async with running(gateway):
        await scale.weigh(1)
    with closing(sqlite3.connect(gateway.outbox)) as db:
        db.execute("PRAGMA user_version = 99")
    before = gateway.outbox.read_bytes()
    await gateway.start()
    assert await asyncio.wait_for(gateway.process.wait(), 20) == os.EX_CONFIG
    assert gateway.outbox.read_bytes() == before
    assert "newer vitals-gateway (schema 99" in (gateway.folder / "gateway.log").read_text()


async def test_a_mode_that_lets_others_read_or_keeps_us_out_is_put_right(
    gateway: Any, scale: Scale, chart: Chart
) -> None:
    async with running(gateway):
        await scale.weigh(1)
    for mode in (0o644, 0o400):
        gateway.outbox.chmod(mode)
        scale.restarted()
        async with running(gateway):
            await scale.weigh(1)
            await gateway.until(outbox(lambda outbox: outbox["trouble"] is None))
        assert gateway.outbox.stat().st_mode & 0o777 == 0o600
    await chart.wait_for(arrived(3), timeout=20)
