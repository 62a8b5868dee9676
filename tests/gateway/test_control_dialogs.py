"""The control socket's dialogs: whoever is at the other end, and however they leave, the service goes on in silence."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import control
from gateway.commands.pair import pair
from gateway.control import Control, Dialog
from gateway.pairing import _Story


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Path, list[str], list[dict[str, Any]]]]:
    """A socket with one dialog, what became of it, and what the loop had to complain about."""
    became: list[str] = []
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))

    async def converse(_question: dict[str, Any], dialog: Dialog) -> None:
        try:
            became.append(json.dumps(await dialog.ask(ask="passkey")))
            await dialog.tell(done=True)
        except asyncio.CancelledError:
            became.append("gone")
            raise

    async def status(_question: object) -> dict[str, object]:
        return {"state": "online"}

    path = tmp_path / "control.sock"
    served = Control(path, {"status": status}, {"pair": converse})
    await served.start()
    yield path, became, complaints
    await served.stop()
    gc.collect()  # a task's exception that nobody has looked at is told when the task is collected
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.parametrize(
    "line",
    [
        '{"command": []}',
        '{"command": {"pair": 1}}',
        "[" * 60_000,
        "9" * 60_000,
        "\x00\xff",
        '"pair"',
        '{"command": "pa',
    ],
)
async def test_what_is_no_question_is_answered_and_the_next_one_too(served: Any, line: str) -> None:
    path, _became, _complaints = served
    reader, writer = await asyncio.open_unix_connection(path)
    for said, expected in ((line, "error"), ('{"command": "status"}', "state")):
        writer.write(said.encode() + b"\n")
        assert expected in json.loads(await asyncio.wait_for(reader.readline(), 10))
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("last", [b"", b'{"passkey": "12', b"x" * (control.QUESTION_LIMIT + 1), b"[" * 60_000 + b"\n"])
async def test_who_leaves_in_the_midst_of_a_dialog_ends_it_alone(served: Any, last: bytes) -> None:
    path, became, _complaints = served
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"command": "pair"}\n')
    assert b"passkey" in await asyncio.wait_for(reader.readline(), 10)
    writer.write(last)
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert became in (["gone"], ["{}"])


@pytest.mark.parametrize(
    ("said", "passkey"),
    [
        ("000042", 42),
        (" 999999 ", 999_999),
        ("1000000", None),
        ("1" * 5000, None),
        ("-1", None),
        ("", None),
        ([1], None),
    ],
)
async def test_a_passkey_has_six_digits(said: object, passkey: int | None) -> None:
    class _Asked:
        async def tell(self, **_members: object) -> None: ...

        async def ask(self, **_members: object) -> dict[str, object]:
            return {"passkey": said}

    assert await _Story(_Asked()).passkey() == passkey


async def test_a_service_that_stops_in_the_midst_of_a_pairing_says_so(tmp_path: Path) -> None:
    async def hang_up(_question: dict[str, Any], dialog: Dialog) -> None:
        await dialog.tell(step="waiting", text="Bring it into pairing mode")

    path = tmp_path / "control.sock"
    service = Control(path, {}, {"pair": hang_up})
    await service.start()
    with pytest.raises(control.ControlError, match="hung up"):
        await asyncio.to_thread(pair, path, "C8:1E:8E:00:00:01", None, anew=False, say=lambda _: None)
    await service.stop()
