"""A service that is reloaded again and again holds no more than one that was just started."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gateway import control
from gateway.config import Loaded, load
from gateway.service import Service
from simulators.broker import OwnBroker, own_broker
from simulators.ports.pty import PtyPort


def held() -> tuple[list[str], list[str], int]:
    """Tasks and threads by name, and how many descriptors."""
    tasks = sorted(task.get_name() for task in asyncio.all_tasks() if not task.get_name().startswith("Task-"))
    threads = sorted(thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_"))
    return tasks, threads, len(list(Path("/proc/self/fd").iterdir()))


async def test_after_twenty_reloads_tasks_threads_and_descriptors_are_as_before(
    tmp_path: Path, broker: OwnBroker, new_port: Callable[[str], PtyPort]
) -> None:
    config, stop = tmp_path / "gateway.yaml", asyncio.Event()
    good: list[Loaded | None] = []
    async with own_broker() as other:
        variants = [
            _yaml(broker.port, _device("scale", new_port("scale"))),
            _yaml(other.port, _device("scale", new_port("other"), ", unit: kg"), _device("more", new_port("more"))),
            "site: [",
            _yaml(broker.port, _device("more", new_port("third")), more="metrics: {textfile: gateway.prom}"),
        ]
        config.write_text(variants[0])
        settings = load(config).settings
        assert settings is not None
        read = partial(load, config)
        service = Service(settings, control=tmp_path / "control.sock", read=read, on_good=good.append)
        serving = asyncio.create_task(service.run(stop))

        async def reloaded(turn: int) -> None:
            config.write_text(variants[turn % 4])
            answer = await asyncio.to_thread(control.ask, tmp_path / "control.sock", "reload", 20.0)
            assert bool(answer["problems"]) == (turn % 4 == 2), answer
            async with asyncio.timeout(20):
                while _is_asked() or not _settled(service):  # noqa: ASYNC110 - no Event
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0)  # a connection that was closed in this step is gone after it

        async with asyncio.timeout(20):
            while not (tmp_path / "control.sock").exists():  # noqa: ASYNC110 - a file sets no Event
                await asyncio.sleep(0.01)
        await reloaded(0)
        before = held()
        for turn in range(1, 21):
            await reloaded(turn)
        try:
            async with asyncio.timeout(20):
                while held() != before:  # noqa: ASYNC110 - no Event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            assert held() == before
        assert len(good) == 1 + 1 + 15, "the start's, and each file's that was good"
        last = good[-1]
        assert last is not None
        assert last.settings is not None
        assert [device.id for device in last.settings.devices] == ["scale"]
        service._clear(service._health.topics)  # a disk that answers late may name who is here again
        told = service._publisher._announcements._states
        assert all(told[topic] for topic in service._health.topics)
        stop.set()
        await asyncio.wait_for(serving, 20)


def _is_asked() -> bool:
    """Whether somebody is being answered at the control socket: their connection is a descriptor, too."""
    return any(getattr(task.get_coro(), "__qualname__", "") == "Control._serve" for task in asyncio.all_tasks())


def _settled(service: Service) -> bool:
    """Whether there is a connection that stays, and every port is open."""
    states = [standing.status.reason for standing in service._attendants.standings.values()]
    there = service._publisher.state.connected_to is not None and not service._publisher._moving
    return there and states == ["not_heard_yet"] * len(states)


def _device(name: str, port: PtyPort, more: str = "") -> str:
    return f"  - {{id: {name}, model: and-standard-scale, port: {port.path}{more}}}\n"


def _yaml(broker_port: int, *devices: str, more: str = "") -> str:
    return f"""\
site: northside
room: exam-3
broker: {{url: "mqtt://127.0.0.1:{broker_port}"}}
outbox: {{path: outbox.db}}
{more}
devices:
{"".join(devices)}"""
