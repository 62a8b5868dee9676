"""A serial port on the event loop: the only importer of pyserial.

Laws:

1. Opened exclusively: two readers of one port would each get half the bytes.
2. Opening runs in a thread of its own: configuring a USB adapter that hangs takes seconds, and no other device
   waits for that. The thread is a daemon: it never keeps the process from stopping.
3. A port that fails is closed before anything else. A dead descriptor that stays open makes the adapter come
   back under another name (seen with ftdi_sio: ttyUSB0 becomes ttyUSB1).
4. At most READ_LIMIT bytes are taken at once: what has been read and is not yet on disk dies with the process.
5. What lay in the port before it was opened is thrown away (pyserial does so): nobody knows how old it is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import termios
import threading
import time
from contextlib import suppress

import serial

from drivers.errors import LinkFault, LinkLost, LinkTimeout
from drivers.links.serial_ports import PTY_MAJORS
from drivers.models import LineSettings

READ_LIMIT = 1024
OPEN_TIMEOUT_S = 10.0

_PARITY = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


_DOES_NOT_OPEN = "{} does not open: unplug its USB adapter and plug it in again"

# Ports whose opening has not come back: a second thread would only hang beside the first.
_opening: set[str] = set()


class SerialPort:
    """One open port. `is_pty`: nothing that is plugged in is behind it, so nothing it says is real."""

    def __init__(self, port: serial.Serial, path: str) -> None:
        self._port = port
        self._path = path
        self._loop = asyncio.get_running_loop()
        self.is_pty = _is_pty(os.fstat(port.fileno()))

    @classmethod
    async def open(cls, path: str, line: LineSettings) -> SerialPort:
        """Open `path` exclusively with these line settings. Raises LinkLost, LinkTimeout."""
        opened = await _in_a_daemon_thread(path, line)
        return cls(opened, path)

    async def read(self, deadline: float | None) -> tuple[bytes, float]:
        """Wait for bytes; answer at most READ_LIMIT of them and the monotonic instant. Raises LinkLost.

        Where none came until `deadline`, a monotonic instant, there are none. We may have stood still ourselves: what
        lies in the port comes before the word that nothing came.
        """
        readable = await self._until_readable(deadline)
        data, at = self.read_waiting()
        if readable and not data:  # a port that was hung up is readable, and has nothing
            raise self._unplugged()
        return data, at

    @property
    def has_bytes(self) -> bool:
        """Whether bytes are there that nobody has taken yet; a port that has gone has none."""
        try:
            return bool(self._port.in_waiting)
        except (OSError, termios.error):
            return False

    def read_waiting(self) -> tuple[bytes, float]:
        """Answer at most READ_LIMIT of the bytes that are there, without waiting, and the instant. Raises LinkLost."""
        try:
            data = os.read(self._port.fileno(), READ_LIMIT)  # pyserial's own read asks select() first, and after it
        except BlockingIOError:
            data = b""
        except OSError as error:  # a pty's end, and pyserial's word for a port that was closed, too
            raise self._unplugged() from error
        return data, time.monotonic()

    def write(self, data: bytes) -> None:
        """Hand a short request to the kernel, without waiting. Raises LinkLost, LinkTimeout."""
        try:
            written = os.write(self._port.fileno(), data)  # pyserial's own write tries a full buffer for ever
        except BlockingIOError:
            written = 0
        except OSError as error:
            raise self._unplugged() from error
        if written != len(data):
            raise LinkTimeout(LinkFault.STUCK, f"{self._path} takes no bytes: is the device on, is the cable whole?")

    def close(self) -> None:
        """Close, without waiting for bytes that nobody takes."""
        with suppress(OSError, termios.error):
            self._port.reset_output_buffer()
        with suppress(OSError):
            self._port.close()

    async def _until_readable(self, deadline: float | None) -> bool:
        """Answer whether bytes came before `deadline`.

        Watched only while someone waits: bytes that nobody takes yet would otherwise wake the loop without end.
        """
        readable: asyncio.Future[bool] = self._loop.create_future()
        self._loop.add_reader(self._port.fileno(), _wake, readable, True)
        timer = None if deadline is None else self._loop.call_at(deadline, _wake, readable, False)
        try:
            return await readable
        finally:
            self._loop.remove_reader(self._port.fileno())
            if timer is not None:
                timer.cancel()

    def _unplugged(self) -> LinkLost:
        return LinkLost(LinkFault.UNPLUGGED, f"{self._path} went away: plug the device or its USB adapter in again")


def _wake(waiter: asyncio.Future[bool], came: bool) -> None:
    if not waiter.done():
        waiter.set_result(came)


async def _in_a_daemon_thread(path: str, line: LineSettings) -> serial.Serial:
    """Open the port off the loop; a port that opens too late is closed again."""
    if path in _opening:
        raise LinkTimeout(LinkFault.STUCK, _DOES_NOT_OPEN.format(path))
    _opening.add(path)
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[serial.Serial] = loop.create_future()

    def settle(port: serial.Serial | None, error: LinkLost | None) -> None:
        if opened.done():
            if port is not None:
                port.close()
        elif error is not None:
            opened.set_exception(error)
        elif port is not None:
            opened.set_result(port)

    def work() -> None:
        port, failure = None, None
        try:
            port = _open(path, line)
        except LinkLost as error:
            failure = error
        _opening.discard(path)
        try:
            loop.call_soon_threadsafe(settle, port, failure)
        except RuntimeError:  # the loop has stopped meanwhile: nobody wants the port any more
            if port is not None:
                port.close()

    threading.Thread(target=work, name=f"open {path}", daemon=True).start()
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            return await opened
    except TimeoutError:
        raise LinkTimeout(LinkFault.STUCK, _DOES_NOT_OPEN.format(path)) from None


def _open(path: str, line: LineSettings) -> serial.Serial:
    try:
        node = os.stat(path)  # noqa: PTH116 - a device node, not a file of ours
        if not stat.S_ISCHR(node.st_mode):
            raise LinkLost(LinkFault.NOT_A_PORT, f"{path} is not a serial port: correct `port` in the YAML")
        if _is_pty(node):
            line = LineSettings()  # a pty has no line; glibc's tcsetattr answers EINVAL when parity does not stick
        port = serial.Serial(
            path,
            baudrate=line.baud,
            bytesize=line.data_bits,
            parity=_PARITY[line.parity],
            stopbits=line.stop_bits,
            xonxoff=line.flow_control == "xonxoff",
            rtscts=line.flow_control == "rtscts",
            timeout=0,
            write_timeout=0,
            exclusive=True,
        )
        if line.parity != "none":
            try:
                _check_parity(port.fileno())
            except termios.error:
                port.close()
                raise
    except (OSError, termios.error) as error:
        raise _why_it_does_not_open(path, error) from error
    return port


def _check_parity(descriptor: int) -> None:
    """Let the kernel look at the parity bit, which pyserial only asks it to expect: a wrong byte arrives as NUL.

    No frame of ours has a NUL in it, so a byte that was hurt on the line rejects its frame. termios(3): INPCK.
    """
    attributes = termios.tcgetattr(descriptor)
    attributes[0] |= termios.INPCK
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def _is_pty(node: os.stat_result) -> bool:
    return os.major(node.st_rdev) in PTY_MAJORS


def _why_it_does_not_open(path: str, error: Exception) -> LinkLost:
    """Tell the causes apart by errno; pyserial hides it in the arguments or in the cause of its own exception."""
    if isinstance(error, termios.error):
        number = error.args[0]
    else:
        number = getattr(error, "errno", None) or getattr(error.__context__, "errno", None)
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO):
        return LinkLost(LinkFault.PORT_ABSENT, f"{path} is not there: is the device's cable plugged in?")
    if number in (errno.EBUSY, errno.EAGAIN):
        return LinkLost(LinkFault.PORT_BUSY, f"{path} is held by another program: stop that one (see: fuser {path})")
    if number in (errno.EACCES, errno.EPERM):
        return LinkLost(LinkFault.PORT_DENIED, f"{path} may not be opened: the service's group needs it (udev rule)")
    return LinkLost(LinkFault.NOT_A_PORT, f"{path} does not open as a serial port: correct `port` in the YAML")
