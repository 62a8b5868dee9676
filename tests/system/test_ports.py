"""What goes wrong with a port is told apart, shown, and healed without a restart, and costs no other device a thing."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from simulators.chart import Chart
from simulators.ports.pty import PtyPort

NewPort = Callable[[str], PtyPort]
Say = Callable[[PtyPort, bytes], Awaitable[None]]


def stable(kg: float) -> bytes:
    return f"ST,{kg:+09.3f} kg\r\n".encode()


def at_least(number: int) -> Callable[[Chart], bool]:
    return lambda chart: len(chart.deliveries) >= number


async def test_absent_plugged_in_unplugged_and_plugged_in_again(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    path = port.path
    port.unplug()
    gateway.add_device("scale", "and-standard-scale", path)
    await gateway.start()
    await gateway.device("scale", "offline", "port_absent")
    port.replug()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, stable(70.0))
    await gateway.device("scale", "online")
    port.unplug()
    await gateway.device("scale", "offline", "unplugged")
    port.replug()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, stable(71.0))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    assert not chart.gaps


async def test_held_by_another_program_then_let_go(gateway: Any, new_port: NewPort) -> None:
    port = new_port("scale")
    other = os.open(port.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    shown = await gateway.device("scale", "offline", "port_busy")
    assert "another program" in shown["detail"]
    os.close(other)
    await gateway.device("scale", "unknown", "not_heard_yet")


async def test_not_a_port(gateway: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"no tty")
    gateway.add_device("scale", "and-standard-scale", file)
    await gateway.start()
    await gateway.device("scale", "offline", "not_a_port")


async def test_wrong_line_settings_are_shown_as_unreadable(gateway: Any, new_port: NewPort, say: Say) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, b"\xd3\xd4\xac\x8d\x0a\r\n" * 6)
    shown = await gateway.device("scale", "unknown", "unreadable")
    assert shown["counts"]["rejected"] == {"bad_frame": 6}
    await say(port, stable(70.0))
    await gateway.device("scale", "online")


async def test_a_polled_scale_that_says_nothing_is_shown_as_silent(gateway: Any, new_port: NewPort, say: Say) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "mt-sics-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "silent")
    await say(port, b"S S      70.00 kg\r\n")
    await gateway.device("scale", "online")


async def test_a_device_that_floods_and_one_that_fails_delay_no_other(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say, tmp_path: Path
) -> None:
    good, flooding = new_port("good"), new_port("flooding")
    gateway.add_device("good", "and-standard-scale", good.path)
    gateway.add_device("flooding", "and-standard-scale", flooding.path)
    gateway.add_device("absent", "and-standard-scale", tmp_path / "nothing-here")
    gateway.add_device("silent", "mt-sics-scale", new_port("silent").path)
    await gateway.start()
    await gateway.device("good", "unknown", "not_heard_yet")
    await gateway.device("flooding", "unknown", "not_heard_yet")
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            flooding.write(b"\x00\xffgarbage without an end " * 40)

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        await gateway.until(lambda status: status["devices"]["flooding"]["counts"]["frames"] > 50)
        for number in range(50):
            await say(good, stable(50 + number))
            await chart.wait_for(at_least(number + 1), timeout=10)
        await gateway.device("absent", "offline", "port_absent")
        await gateway.device("flooding", "unknown", "unreadable")
    finally:
        stop.set()
        await asyncio.to_thread(flooder.join)
    assert await gateway.stop() == 0
