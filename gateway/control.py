"""The control socket: how a running service is asked. JSON lines over a Unix socket, readable by the service's group.

A question is one line `{"command": "status"}`, with members of its own where the command has some; the answer is one
line, `{"error": "…"}` if it was none.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

_log = logging.getLogger(__name__)

DEFAULT_PATH = Path("/run/vitals-gateway/control.sock")
QUESTION_LIMIT = 64 * 1024
IDLE_S = 60.0

Question = Mapping[str, object]
Answer = Callable[[Question], Awaitable[dict[str, object]]]


class ControlError(Exception):
    """The service could not be asked; `str()` says why and what to do."""


def default_path() -> Path:
    """Answer where the socket lies: in systemd's $RUNTIME_DIRECTORY if there is one."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime) / DEFAULT_PATH.name if runtime else DEFAULT_PATH


class Control:
    """Answers questions on the socket at `path` until it is stopped."""

    def __init__(self, path: Path, commands: Mapping[str, Answer]) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None

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
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(IDLE_S):
                while line := await reader.readline():
                    writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                    await writer.drain()
        except (TimeoutError, ValueError, ConnectionError):
            _log.debug("a client of the control socket was too slow, too long or gone")
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            question = json.loads(line)
        except ValueError:
            return {"error": "a question is one line of JSON"}
        command = question.get("command") if isinstance(question, dict) else None
        if not isinstance(command, str) or command not in self._commands:
            return {"error": f"the commands are: {', '.join(sorted(self._commands))}"}
        return await self._commands[command](question)


def ask(path: Path, command: str, timeout_s: float = 5.0, **members: object) -> dict[str, object]:
    """Ask a running service one question; `members` go with the command. Raises ControlError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps({**members, "command": command}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except PermissionError:
        raise ControlError(f"{path} may not be opened: be root or in the group vitals-gateway") from None
    except (OSError, ValueError) as error:
        raise ControlError(f"no service answers at {path} ({error}): systemctl status vitals-gateway") from None
    if not isinstance(answer, dict):
        raise ControlError(f"the service did not answer: {answer}")
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(0.2)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True
