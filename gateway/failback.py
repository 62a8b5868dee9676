"""Back to the first broker of the list: whether it is there again is looked for from outside, while another serves.

Nothing is said to it: it is reached, and shows the certificate that it should. To log in would be to leave: in a
cluster the same client id at another node ends the connection that we have.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from contextlib import suppress

from gateway import tls
from gateway.broker import Address, Login
from gateway.futures import settle
from gateway.mqtt import CONNECT_TIMEOUT_S

LOOKS = 2  # in a row that find it: one that comes and goes is not worth moving for


async def until_it_is_back(address: Address, login: Login, look_s: float) -> None:
    """Return when the broker was there at LOOKS looks in a row, which are about `look_s` seconds apart."""
    found = 0
    while found < LOOKS:
        await asyncio.sleep(random.uniform(look_s / 2, look_s * 3 / 2))  # noqa: S311 - rooms do not come together
        found = found + 1 if await _there(address, login) else 0


async def _there(address: Address, login: Login) -> bool:
    """Look in a thread of its own, which may hang with its resolver: nobody waits for it when we stop."""
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[bool] = loop.create_future()

    def look() -> None:
        there = _answers(address, login)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, seen, there)

    threading.Thread(target=look, name=f"look for {address}", daemon=True).start()
    return await seen


def _answers(address: Address, login: Login) -> bool:
    try:
        with socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S) as connected:
            if address.tls:
                context = tls.context(login.ca_file, login.client_cert_file, login.client_key_file)
                context.wrap_socket(connected, server_hostname=address.host).close()
    except (OSError, UnicodeError):
        return False
    return True
