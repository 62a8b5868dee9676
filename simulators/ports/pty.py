"""A serial port that is a pseudo-terminal: a reader opens its path as it would /dev/ttyUSB0.

1. Writing never waits. With nobody at the other end the bytes are lost, as on a UART, and counted; so are those that
   do not fit because the reader does not read.
2. A reader that comes later does not get what was said before it came.
3. Unplugging closes the master: the reader sees an I/O error or a hang-up, and the path is gone, as udev takes it away.
"""

from __future__ import annotations

import asyncio
import os
import select
import termios
import tty
from collections.abc import Iterable
from pathlib import Path

from simulators.faults import Faults, Replug, Unplug, Write
from simulators.serial.device import SerialDevice
from simulators.story import Act, perform

_READ_MOST = 4096


class PtyPort:
    """One end of a pty, plugged in from the start; `link_path`, if given, always names the present one."""

    def __init__(self, link_path: Path | None = None) -> None:
        if link_path is not None and link_path.exists() and not link_path.is_symlink():
            raise ValueError(f"{link_path} exists and is no symbolic link: choose another path")
        self._link_path = link_path
        self._master: int | None = None
        self._someone_there = False
        self.slave_path: Path | None = None
        self.lost_bytes = 0
        self.replug()

    @property
    def path(self) -> Path:
        """What a reader opens: the link if there is one, else the pty. OSError while unplugged without a link."""
        if self._link_path is not None:
            return self._link_path
        if self.slave_path is None:
            raise OSError("the port is unplugged and has no lasting path")
        return self.slave_path

    @property
    def plugged(self) -> bool:
        """Whether the port is there."""
        return self._master is not None

    def write(self, data: bytes) -> int:
        """Answer how many bytes went out; the rest is lost and counted in `lost_bytes`."""
        written = 0
        if self._master is not None and self._reader_present(self._master):
            try:
                written = os.write(self._master, data)
            except BlockingIOError:
                pass  # the reader does not read and the kernel's buffer is full
        self.lost_bytes += len(data) - written
        return written

    def read(self) -> bytes:
        """Answer what the other end has written, at most 4096 bytes; b"" if nothing."""
        if self._master is None or not self._reader_present(self._master):
            return b""
        try:
            return os.read(self._master, _READ_MOST)
        except BlockingIOError:
            return b""
        except OSError:
            return b""  # EIO: the reader left between the question and the read

    def unplug(self) -> None:
        """Take the port away."""
        if self._master is None:
            return
        # The link first: its target's number may soon be another program's pty.
        if self._link_path is not None and self.slave_path is not None:
            self._remove_link(self._link_path, self.slave_path)
        os.close(self._master)
        self._master = self.slave_path = None

    def replug(self) -> None:
        """Bring the port back as a new pty, under the same link."""
        if self._master is not None:
            return
        master, slave = os.openpty()
        tty.setraw(slave)
        self.slave_path = Path(os.ttyname(slave))
        os.set_blocking(master, False)
        # A slave that was opened and closed makes the master tell whether someone is there (POLLHUP).
        os.close(slave)
        self._master = master
        self._someone_there = False
        if self._link_path is not None:
            beside = self._link_path.with_name(f".{self._link_path.name}.{os.getpid()}")
            beside.unlink(missing_ok=True)
            beside.symlink_to(self.slave_path)
            beside.replace(self._link_path)

    def close(self) -> None:
        """Unplug for good."""
        self.unplug()

    def _reader_present(self, master: int) -> bool:
        poll = select.poll()
        poll.register(master, 0)
        present = not any(event & select.POLLHUP for _, event in poll.poll(0))
        if self._someone_there and not present:
            self._forget_unread()
        self._someone_there = present
        return present

    def _forget_unread(self) -> None:
        """What the last reader left unread must not greet the next."""
        if self.slave_path is None:
            return
        try:
            slave = os.open(self.slave_path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return  # the reader took it for itself alone (TIOCEXCL): then nobody comes after it either
        try:
            termios.tcflush(slave, termios.TCIOFLUSH)
        finally:
            os.close(slave)

    @staticmethod
    def _remove_link(link_path: Path, target: Path) -> None:
        if link_path.is_symlink() and link_path.readlink() == target:
            link_path.unlink()


async def run_device(
    device: SerialDevice,
    port: PtyPort,
    faults: Faults | None = None,
    story: Iterable[Act] | None = None,
    tick_s: float = 0.02,
    speed: float = 1.0,
) -> None:
    """Step `device` by the time that really passes, times `speed`, and connect it to `port`, until cancelled.

    The acts of `story` happen at their own instants, whatever the tick. ValueError: an act that the device cannot do.
    """
    faults = faults or Faults()
    acts = iter(story or ())
    following = next(acts, None)
    loop = asyncio.get_running_loop()
    start_s, stepped_s = loop.time(), 0.0
    while True:
        now_s = (loop.time() - start_s) * speed
        while following is not None and following.at_s <= now_s:
            before_s = max(0.0, following.at_s - stepped_s)
            _deliver(device.advance(before_s), before_s, faults, port)
            stepped_s += before_s
            perform(following, device, faults)
            following = next(acts, None)
        heard = port.read()
        said = device.receive(heard) if heard else b""
        said += device.advance(now_s - stepped_s)
        _deliver(said, now_s - stepped_s, faults, port)
        stepped_s = now_s
        await asyncio.sleep(tick_s)


def _deliver(said: bytes, dt_s: float, faults: Faults, port: PtyPort) -> None:
    for action in faults.apply(said, dt_s):
        match action:
            case Write(data):
                port.write(data)
            case Unplug():
                port.unplug()
            case Replug():
                port.replug()
