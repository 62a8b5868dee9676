from __future__ import annotations

import asyncio
import errno
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.faults import Fault, Faults
from simulators.ports.pty import PtyPort, run_device
from simulators.serial.and_scale import AndScale
from simulators.serial.health_o_meter import HealthOMeterScale
from simulators.serial.mt_sics import MtSicsScale
from simulators.story import Act

PATIENCE_S = 20.0


@pytest.fixture
def port(tmp_path: Path) -> Iterator[PtyPort]:
    opened = PtyPort(tmp_path / "scale")
    yield opened
    opened.close()


def open_reader(port: PtyPort) -> int:
    return os.open(port.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


def read_now(fd: int) -> bytes:
    ready, _, _ = select.select([fd], [], [], PATIENCE_S)
    assert ready, "nothing arrived"
    return os.read(fd, 4096)


async def read_until(fd: int, wanted: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + PATIENCE_S
    while wanted not in seen:
        assert time.monotonic() < deadline, f"{wanted!r} did not arrive, only {seen!r}"
        try:
            seen += os.read(fd, 4096)
        except BlockingIOError:
            await asyncio.sleep(0.005)
    return seen


async def until_plugged(port: PtyPort, plugged: bool) -> None:
    while port.plugged is not plugged:  # noqa: ASYNC110 - a port sets no Event
        await asyncio.sleep(0.005)


def test_bytes_arrive_unchanged_both_ways(port: PtyPort) -> None:
    every_byte = bytes(range(256))
    fd = open_reader(port)
    assert port.write(every_byte) == 256
    assert read_now(fd) == every_byte
    os.write(fd, every_byte)
    assert port.read() == every_byte
    assert port.read() == b""
    assert port.lost_bytes == 0
    os.close(fd)


def test_with_nobody_listening_bytes_are_lost_and_counted(port: PtyPort) -> None:
    assert port.write(b"unheard") == 0
    assert port.lost_bytes == 7
    fd = open_reader(port)
    port.write(b"heard")
    assert read_now(fd) == b"heard"
    os.close(fd)


def test_what_one_reader_left_does_not_greet_the_next(port: PtyPort) -> None:
    first = open_reader(port)
    port.write(b"for the first")
    os.close(first)
    assert port.read() == b""
    second = open_reader(port)
    port.write(b"for the second")
    assert read_now(second) == b"for the second"
    os.close(second)


def test_a_reader_that_does_not_read_never_blocks_the_device(port: PtyPort) -> None:
    fd = open_reader(port)
    block = b"x" * 4096
    deadline = time.monotonic() + PATIENCE_S
    while port.write(block):  # the kernel still moves what it took to the reader's side, which makes room once more
        assert time.monotonic() < deadline
    assert port.lost_bytes >= 4096
    os.close(fd)


def test_unplug_is_seen_by_the_reader_and_takes_the_path_away(port: PtyPort) -> None:
    fd = open_reader(port)
    port.unplug()
    port.unplug()
    try:
        assert os.read(fd, 10) == b""
    except OSError as error:
        assert error.errno == errno.EIO  # noqa: PT017 - Linux says either, by the moment
    os.close(fd)
    assert not port.plugged
    assert not port.path.is_symlink()
    assert port.write(b"lost") == 0
    assert port.read() == b""


def test_replug_comes_back_under_the_same_path(port: PtyPort) -> None:
    path = port.path
    old = open_reader(port)
    port.unplug()
    port.replug()
    port.replug()
    assert port.path == path
    assert path.readlink() == port.slave_path
    new = open_reader(port)
    port.write(b"again")
    assert read_now(new) == b"again"
    os.close(old)
    os.close(new)


def test_close_takes_only_its_own_link(port: PtyPort, tmp_path: Path) -> None:
    port.path.unlink()
    port.path.symlink_to(tmp_path)
    port.close()
    assert port.path.readlink() == tmp_path


def test_a_file_in_the_place_of_the_link_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ValueError, match="choose another path"):
        PtyPort(tmp_path / "mine")


def test_without_a_link_the_path_is_the_ptys() -> None:
    port = PtyPort()
    assert str(port.path).startswith("/dev/pts/")
    port.unplug()
    with pytest.raises(OSError, match="unplugged"):
        _ = port.path
    port.close()


async def test_a_device_speaks_on_its_port_as_time_passes(port: PtyPort) -> None:
    scale = HealthOMeterScale("health-o-meter-600kl")
    fd = open_reader(port)
    running = asyncio.create_task(run_device(scale, port, story=[Act(0.0, "step_on", "83.7")]))
    try:
        assert b"\x1bISIM-000001\x1bW83.7\x1b" in await read_until(fd, b"\x1bE")
    finally:
        running.cancel()
        os.close(fd)
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_device_answers_what_it_is_asked(port: PtyPort) -> None:
    fd = open_reader(port)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        running = group.create_task(run_device(MtSicsScale(), port))
        os.write(fd, b"SI\r\n")
        assert await read_until(fd, b"\r\n") == b"S S       0.00 kg\r\n"
        running.cancel()
    os.close(fd)


async def test_a_story_unplugs_and_replugs(port: PtyPort) -> None:
    story = [Act(0.0, "step_on", "80"), Act(0.3, "fault", "unplug"), Act(0.6, "fault", "replug")]
    fd = open_reader(port)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        running = group.create_task(run_device(AndScale(), port, Faults(), story))
        await until_plugged(port, False)
        os.close(fd)
        await until_plugged(port, True)
        again = open_reader(port)
        await read_until(again, b"ST,+00080.00 kg\r\n")
        os.close(again)
        running.cancel()


async def test_a_fault_injected_from_outside_meets_the_wire(port: PtyPort) -> None:
    faults = Faults()
    fd = open_reader(port)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        running = group.create_task(run_device(AndScale(), port, faults))
        await read_until(fd, b"ST,+00000.00 kg\r\n")
        faults.inject(Fault.OUT_OF_RANGE)
        await read_until(fd, b"ST,+99999.99 kg\r\n")
        running.cancel()
    os.close(fd)
