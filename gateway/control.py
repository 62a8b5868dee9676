"""The control socket: how a running service is asked. JSON lines over a Unix socket, readable by the service's group.

A question is one line `{"command": "status"}`, with members of its own where the command has some; the answer is one
line, `{"error": "…"}` if it was none. Some commands are a dialog: lines both ways, until either side hangs up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

DEFAULT_PATH = Path("/run/vitals-gateway/control.sock")
QUESTION_LIMIT = 64 * 1024
IDLE_S = 60.0
STOP_S = 0.2  # for who is in a dialog when the service stops

Question = Mapping[str, object]
Answer = Callable[[Question], Awaitable[dict[str, object]]]
Converse = Callable[[dict[str, Any], "Dialog"], Awaitable[None]]


class ControlError(Exception):
    """The service could not be asked; `str()` says why and what to do."""


def default_path() -> Path:
    """Answer where the socket lies: in systemd's $RUNTIME_DIRECTORY if there is one."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime) / DEFAULT_PATH.name if runtime else DEFAULT_PATH


class Control:
    """Answers questions on the socket at `path` until it is stopped."""

    def __init__(
        self, path: Path, commands: Mapping[str, Answer], dialogs: Mapping[str, Converse] | None = None
    ) -> None:
        self._path = path
        self._commands = commands
        self._dialogs = dialogs or {}
        self._server: asyncio.Server | None = None
        self._conversing: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen. A socket that cannot be made is logged: readings matter more than questions."""
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            if _answers(self._path):
                _log.warning("%s belongs to another vitals-gateway: this one cannot be asked", self._path)
                return
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=QUESTION_LIMIT)
            self._path.chmod(0o660)
        except OSError as error:
            _log.warning("no control socket at %s (%s): `status` will not work", self._path, error.strerror)

    async def stop(self) -> None:
        """Stop listening, hang up on who is in a dialog, and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for task in self._conversing:
            task.cancel()
        if self._conversing:
            await asyncio.wait(self._conversing, timeout=STOP_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(IDLE_S):
                while line := await reader.readline():
                    question = _question(line)
                    command = question.get("command")
                    if isinstance(command, str) and command in self._dialogs:
                        break
                    writer.write(json.dumps(await self._answer(question)).encode() + b"\n")
                    await writer.drain()
                else:
                    return
            conversing = asyncio.ensure_future(_converse(self._dialogs[command], question, Dialog(reader, writer)))
            self._conversing.add(conversing)
            try:
                await conversing
            finally:
                self._conversing.discard(conversing)
        except asyncio.CancelledError:
            _log.debug("the service stops: a dialog was ended")
        except (TimeoutError, ValueError, ConnectionError):
            _log.debug("a client of the control socket was too slow, too long or gone")
        finally:
            writer.close()

    async def _answer(self, question: dict[str, Any]) -> dict[str, object]:
        command = question.get("command")
        if not isinstance(command, str) or command not in self._commands:
            return {"error": f"the commands are: {', '.join(sorted([*self._commands, *self._dialogs]))}"}
        return await self._commands[command](question)


class Dialog:
    """Lines both ways with one who asked. `gone` is done when they hang up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.gone = asyncio.ensure_future(self._listen())

    async def tell(self, **members: object) -> None:
        """Say one line. Raises ConnectionError."""
        self._writer.write(json.dumps(members).encode() + b"\n")
        await self._writer.drain()

    async def ask(self, **members: object) -> dict[str, Any]:
        """Say one line and answer the next that comes. Raises ConnectionError."""
        while not self._said.empty():
            self._said.get_nowait()  # an answer to what is asked no longer
        await self.tell(**members)
        return await self._said.get()

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            await self._said.put(_question(line))


async def _converse(converse: Converse, question: dict[str, Any], dialog: Dialog) -> None:
    """Go through a dialog; it ends with whoever hangs up first."""
    conversing = asyncio.ensure_future(converse(question, dialog))
    try:
        await asyncio.wait({conversing, dialog.gone}, return_when=asyncio.FIRST_COMPLETED)
        if conversing.done():
            conversing.result()
    finally:
        for task in (conversing, dialog.gone):
            task.cancel()
        await asyncio.wait({conversing, dialog.gone})
        if not dialog.gone.cancelled():
            dialog.gone.exception()  # how they were gone is all the same


def _question(line: bytes) -> dict[str, Any]:
    try:
        question = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return question if isinstance(question, dict) else {}


def ask(path: Path, command: str, timeout_s: float = 5.0, **members: object) -> dict[str, object]:
    """Ask a running service one question; `members` go with the command. Raises ControlError."""
    for answer in converse(path, {**members, "command": command}, lambda _: None, timeout_s):
        if not isinstance(answer, dict):
            raise ControlError(f"the service did not answer: {answer}")
        if "error" in answer:
            raise ControlError(str(answer["error"]))
        return answer
    raise ControlError("the service did not answer: it hung up")


def converse(
    path: Path,
    question: Mapping[str, object],
    reply: Callable[[dict[str, Any]], Mapping[str, object] | None],
    timeout_s: float | None,
) -> Iterator[dict[str, Any]]:
    """Yield each line that a running service says; what `reply` answers to it goes back. Raises ControlError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    said = json.loads(line)
                    yield said
                    if (answer := reply(said)) is not None:
                        connection.sendall(json.dumps(answer).encode() + b"\n")
    except PermissionError:
        raise ControlError(f"{path} may not be opened: be root or in the group vitals-gateway") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ControlError(f"no service answers at {path} ({why}): systemctl status vitals-gateway") from None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(0.2)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True
