"""The serial port on real pseudo-terminals: what it hands on, and how each way to fail is told from the others."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from drivers.errors import LinkError, LinkFault, LinkLost, LinkTimeout
from drivers.links import serial_port
from drivers.links.serial_port import READ_LIMIT, SerialPort
from drivers.models import LineSettings

CHECKOUT = Path(serial_port.__file__).parents[2]
LINE = LineSettings()
BOUND_S = 20.0


class Pty:
    """A pty whose port nobody has set up yet. Its slave stays open, so that its queue can be looked into."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)

    def unplug(self) -> None:
        os.close(self.master)
        self.master = -1

    def queued(self) -> int:
        """How many bytes the port has received and not yet handed on."""
        count: int = struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, b"\0" * 4))[0]
        return count

    async def received(self, count: int) -> bytes:
        """What the device sees, at least `count` bytes."""
        seen = b""
        async with asyncio.timeout(BOUND_S):
            while len(seen) < count:
                try:
                    seen += os.read(self.master, 4096)
                except BlockingIOError:
                    await asyncio.sleep(0)
        return seen

    async def has_queued(self, count: int) -> None:
        async with asyncio.timeout(BOUND_S):
            while self.queued() < count:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0)

    def close(self) -> None:
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pty() -> Iterator[Pty]:
    opened = Pty()
    yield opened
    opened.close()


@pytest.fixture
def other_pty() -> Iterator[Pty]:
    opened = Pty()
    yield opened
    opened.close()


async def read_all(port: SerialPort, count: int) -> bytes:
    seen = b""
    async with asyncio.timeout(BOUND_S):
        while len(seen) < count:
            seen += (await port.read(None))[0]
    return seen


async def fault_of_opening(path: Path | str) -> LinkFault:
    with pytest.raises(LinkLost) as raised:
        await SerialPort.open(str(path), LINE)
    assert str(path) in str(raised.value), "IT must see which port it is"
    return raised.value.fault


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


# What goes through.


async def test_every_byte_goes_through_both_ways_unchanged(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    everything = bytes(range(256))
    os.write(pty.master, everything)
    assert await read_all(port, 256) == everything
    port.write(everything)
    assert await pty.received(256) == everything
    port.close()


async def test_reading_waits_for_bytes_and_says_when_they_came(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    reading = asyncio.create_task(port.read(None))
    await asyncio.sleep(0)
    assert not reading.done()
    before = time.monotonic()
    os.write(pty.master, b"ST")
    async with asyncio.timeout(BOUND_S):
        data, at = await reading
    assert b"ST".startswith(data)
    assert before <= at <= time.monotonic()
    port.close()


async def test_nothing_by_the_deadline_is_nothing(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    deadline = time.monotonic()
    async with asyncio.timeout(BOUND_S):
        data, at = await port.read(deadline)
    assert (data, at >= deadline) == (b"", True)
    port.close()


async def test_what_lies_in_the_port_comes_before_the_word_that_nothing_came(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    os.write(pty.master, b"ST")
    await pty.has_queued(2)
    async with asyncio.timeout(BOUND_S):
        data, _ = await port.read(time.monotonic() - 1)  # we stood still for so long
    assert data == b"ST"
    port.close()


async def test_at_most_read_limit_at_once_and_nothing_lost(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    flood = bytes(number % 251 for number in range(2 * READ_LIMIT + 100))
    os.write(pty.master, flood)
    await pty.has_queued(len(flood))
    pieces = [(await port.read(None))[0] for _ in range(3)]
    assert [len(piece) for piece in pieces] == [READ_LIMIT, READ_LIMIT, 100]
    assert b"".join(pieces) == flood
    port.close()


async def test_what_lay_in_the_port_before_is_thrown_away(pty: Pty) -> None:
    old = b"ST,+00070.10 kg\r\n"
    os.write(pty.master, old)
    await pty.has_queued(1)
    port = await SerialPort.open(pty.path, LINE)
    os.write(pty.master, b"new")
    assert await read_all(port, 3) == b"new"
    port.close()


async def test_the_lines_own_settings_do_not_keep_a_pty_from_opening(pty: Pty) -> None:
    line = LineSettings(baud=2400, data_bits=7, parity="even", stop_bits=2)
    port = await SerialPort.open(pty.path, line)
    os.write(pty.master, b"\xff")
    assert await read_all(port, 1) == b"\xff"
    assert termios.tcgetattr(pty.slave)[5] == termios.B9600, "they were not even tried: glibc refuses parity on a pty"
    port.close()


async def test_a_pty_is_a_pty_behind_a_link_too(pty: Pty, tmp_path: Path) -> None:
    link = tmp_path / "by-path"
    link.symlink_to(pty.path)
    port = await SerialPort.open(str(link), LINE)
    assert port.is_pty
    port.close()


def test_what_is_no_pty_is_none() -> None:
    assert not serial_port._is_pty(Path("/dev/null").stat())
    assert not serial_port._is_pty(Path("/dev/tty").stat())


# Why it does not open.


async def test_a_port_that_is_not_there_is_absent(tmp_path: Path) -> None:
    assert await fault_of_opening(tmp_path / "ttyUSB0") is LinkFault.PORT_ABSENT
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB0")
    assert await fault_of_opening(tmp_path / "by-id") is LinkFault.PORT_ABSENT


async def test_what_is_no_port_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "file", tmp_path / "file" / "ttyUSB0", tmp_path, tmp_path / "fifo", Path("/dev/null")):
        assert await fault_of_opening(path) is LinkFault.NOT_A_PORT


async def test_a_port_is_opened_once(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    assert await fault_of_opening(pty.path) is LinkFault.PORT_BUSY
    os.write(pty.master, b"mine")
    assert await read_all(port, 4) == b"mine", "the second attempt must not take anything from the first"
    port.close()
    again = await SerialPort.open(pty.path, LINE)
    again.close()


HOLD_THE_LOCK = """
import fcntl, sys
port = open(sys.argv[1], "rb+", buffering=0)
fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_port_that_another_program_holds_is_busy(pty: Pty) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD_THE_LOCK, pty.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    try:
        async with asyncio.timeout(BOUND_S):
            assert await other.stdout.readline() == b"held\n"
            assert await fault_of_opening(pty.path) is LinkFault.PORT_BUSY
            await other.communicate(b"the end")
    finally:
        if other.returncode is None:
            other.kill()
            await other.wait()
    (await SerialPort.open(pty.path, LINE)).close()


OPEN_AS_NOBODY = """
import asyncio, os, sys
from drivers.errors import LinkError
from drivers.links.serial_port import SerialPort
from drivers.models import LineSettings
if os.geteuid() == 0:  # whom nothing is denied
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(SerialPort.open(sys.argv[1], LineSettings()))
except LinkError as error:
    print(error.fault)
"""


def test_a_port_that_may_not_be_opened_is_denied(pty: Pty) -> None:
    Path(pty.path).chmod(0o000)
    ran = subprocess.run(
        [sys.executable, "-c", OPEN_AS_NOBODY, pty.path], cwd=CHECKOUT, capture_output=True, text=True, timeout=BOUND_S
    )
    assert (ran.stdout, ran.stderr) == ("port_denied\n", "")


# How it goes away.


async def test_readable_with_nothing_in_it_is_a_port_that_was_hung_up(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = await SerialPort.open(pty.path, LINE)
    os.write(pty.master, b"ST")
    await pty.has_queued(2)
    monkeypatch.setattr(os, "read", lambda *_: b"")  # a USB adapter's end, which no pty has
    with pytest.raises(LinkLost) as raised:
        async with asyncio.timeout(BOUND_S):
            await port.read(None)
    assert raised.value.fault is LinkFault.UNPLUGGED
    monkeypatch.undo()
    port.close()


async def test_unplugged_while_it_is_read(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    reading = asyncio.create_task(port.read(None))
    await asyncio.sleep(0)
    pty.unplug()
    with pytest.raises(LinkLost, match=pty.path) as raised:
        async with asyncio.timeout(BOUND_S):
            await reading
    assert raised.value.fault is LinkFault.UNPLUGGED
    port.close()


async def test_unplugged_when_it_is_written(pty: Pty) -> None:
    port = await SerialPort.open(pty.path, LINE)
    pty.unplug()
    with pytest.raises(LinkLost, match=pty.path) as raised:
        port.write(b"S\r\n")
    assert raised.value.fault is LinkFault.UNPLUGGED
    port.close()


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_device_that_takes_no_bytes_is_stuck_and_holds_nobody_up(pty: Pty, size: int) -> None:
    port = await SerialPort.open(pty.path, LINE)

    def ask_for_ever() -> None:
        while True:
            port.write(b"S" * size)

    with pytest.raises(LinkTimeout, match=pty.path) as raised:
        ask_for_ever()
    assert raised.value.fault is LinkFault.STUCK
    port.close()
    (await SerialPort.open(pty.path, LINE)).close()


# Opening that takes long.


class Hold:
    """Holds the thread that opens `path` as it begins: the rest is what happens when a USB adapter hangs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.thread: threading.Thread | None = None
        self._reached = threading.Event()
        self._released = threading.Event()

    def trace(self, frame: FrameType, _event: str, _argument: object) -> None:
        code = frame.f_code
        if code.co_filename == serial_port.__file__ and frame.f_locals.get("path") == self.path and not self.thread:
            self.thread = threading.current_thread()
            self._reached.set()
            self._released.wait(BOUND_S)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, BOUND_S), "no thread of its own opens the port"

    async def release(self) -> None:
        self._released.set()
        assert self.thread is not None
        await asyncio.to_thread(self.thread.join, BOUND_S)
        await asyncio.sleep(0)  # what the thread has left to the loop

    def let_go(self) -> None:
        self._released.set()


@pytest.fixture
def hold(pty: Pty) -> Iterator[Hold]:
    before, held = threading.gettrace(), Hold(pty.path)
    threading.settrace(held.trace)
    yield held
    threading.settrace(before)
    held.let_go()


async def test_a_port_that_hangs_keeps_nobody_else_waiting(pty: Pty, other_pty: Pty, hold: Hold) -> None:
    opening = asyncio.create_task(SerialPort.open(pty.path, LINE))
    await hold.reached()
    other = await SerialPort.open(other_pty.path, LINE)
    os.write(other_pty.master, b"here")
    assert await read_all(other, 4) == b"here"
    assert not opening.done()
    assert hold.thread is not None
    assert hold.thread.daemon, "the process must be able to stop"
    await hold.release()
    port = await opening
    port.close()
    other.close()


async def test_a_port_that_opens_too_late_is_closed_again(
    pty: Pty, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_port, "OPEN_TIMEOUT_S", 0.05)
    before = descriptors()
    with pytest.raises(LinkTimeout, match=pty.path) as raised:
        await SerialPort.open(pty.path, LINE)
    assert raised.value.fault is LinkFault.STUCK
    monkeypatch.undo()
    await hold.release()
    assert descriptors() == before
    (await SerialPort.open(pty.path, LINE)).close()


async def test_a_port_that_nobody_waits_for_any_more_is_closed_again(pty: Pty, hold: Hold) -> None:
    before = descriptors()
    opening = asyncio.create_task(SerialPort.open(pty.path, LINE))
    await hold.reached()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await hold.release()
    assert descriptors() == before
    (await SerialPort.open(pty.path, LINE)).close()


# What is left behind.


async def test_nothing_is_left_open(pty: Pty, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (await SerialPort.open(pty.path, LINE)).close()
    before = descriptors()
    for _ in range(200):
        port = await SerialPort.open(pty.path, LINE)
        for path in (pty.path, str(tmp_path / "file"), "/dev/null"):
            with pytest.raises(LinkError):
                await SerialPort.open(path, LINE)
        port.write(b"S\r\n")
        port.close()
    assert descriptors() == before


async def test_a_port_that_went_away_leaves_nothing_open() -> None:
    before = descriptors()
    for _ in range(20):
        gone = Pty()
        port = await SerialPort.open(gone.path, LINE)
        gone.unplug()
        with pytest.raises(LinkLost):
            async with asyncio.timeout(BOUND_S):
                await port.read(None)
        port.close()
        gone.close()
    assert descriptors() == before
