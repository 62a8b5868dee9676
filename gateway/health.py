"""What the gateway tells of itself: retained states, events, and the answer to `status`. Never a value of a vital."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TypeVar

from drivers.contract import Notice
from gateway import states
from gateway.account import Account
from gateway.broker import Message
from gateway.claims import Claims
from gateway.clock import Clock
from gateway.in_force import InForce
from gateway.outbox import Outbox
from gateway.outbox_state import OutboxState
from gateway.payload import Origin, utc_text
from gateway.publisher import Publisher, PublisherState
from gateway.reading import Mode
from gateway.requests import Requests
from gateway.settings import Device, LeftOut
from gateway.standing import DeviceStatus, Standing
from gateway.store import MEGABYTE

DELAY_S = 0.25  # changes that come together go out as one state
GATEWAY_STATE_S = 60.0  # at the latest
STATE_LEAST_S = 1.0  # between two of the gateway, or of one device of which only the counts are new


_T = TypeVar("_T")


class Health:
    """Publishes states when they change; the parts call it on the event loop."""

    def __init__(
        self, origin: Origin, in_force: InForce, clock: Clock, outbox: Outbox, left_out: Sequence[LeftOut] = ()
    ) -> None:
        """`left_out`: devices of the configuration that nobody attends."""
        self._origin = origin
        self._in_force = in_force
        self._left_out = left_out
        self._clock = clock
        self._outbox = outbox
        self._started = clock.now().monotonic  # its UTC may be put right later
        self._due: dict[str, asyncio.TimerHandle] = {}  # by device: when its state is told
        self._told: dict[str, tuple[float, tuple[object, ...]]] = {}  # when, on the loop's clock; its news then
        self._is_over = False
        self._gateway_event = asyncio.Event()
        self._publisher: Publisher | None = None
        self._standings: Mapping[str, Standing] = {}
        self._gone: Mapping[str, Standing] = {}
        self._requests: Requests | None = None
        self._claims: Claims | None = None

    def attach(
        self,
        publisher: Publisher,
        standings: Mapping[str, Standing],
        gone: Mapping[str, Standing],
        requests: Requests | None = None,
        claims: Claims | None = None,
    ) -> None:
        """Take the parts that are to be told of; each begins with a state. `gone`: counted, and told of no more."""
        self._publisher = publisher
        self._standings = standings
        self._gone = gone
        self._requests = requests
        self._claims = claims
        for device in standings:
            self.device_changed(device)
        self.leave_out(self._left_out)
        for topic, payload in claims.states.items() if claims is not None else ():
            publisher.publish_state(topic, payload)

    @property
    def topics(self) -> list[str]:
        """The topics that hold a retained state of this configuration."""
        return [
            states.gateway_topic(self._origin),
            *(states.device_topic(self._origin, device) for device in self._standings),
            *(states.device_topic(self._origin, device.id) for device in self._left_out),
            *(self._claims.states if self._claims is not None else ()),
        ]

    def farewell(self, reason: str, at: datetime | None = None) -> Message:
        """Answer the offline state: `connection_lost` is the will's reason, whose time nobody can know."""
        payload = states.gateway_state(
            self._origin,
            state="offline",
            at=at,
            reason=reason,
            config_hash=self._in_force.hash,
            started_at=self._clock.utc_at(self._started),
        )
        return Message(states.gateway_topic(self._origin), payload)

    def leave_out(self, left_out: Sequence[LeftOut]) -> None:
        """Tell of the configuration's devices that nobody attends."""
        self._left_out = left_out
        for device in left_out:
            self._publish_device_state(device.id, device.model_name, _misconfigured(device))

    # ---- what the parts call -------------------------------------------------------------------------------------

    @property
    def in_force(self) -> InForce:
        """Which configuration runs."""
        return self._in_force

    @in_force.setter
    def in_force(self, in_force: InForce) -> None:
        self._in_force = in_force
        self.gateway_changed()

    def device_changed(self, device: str) -> None:
        """Tell a device's state: soon if that is news, else with what follows within STATE_LEAST_S."""
        self._gateway_event.set()
        standing = self._standings.get(device)
        if standing is None or self._is_over:  # a reload has taken it away; the last word is said
            return
        told_at, told = self._told.get(device, (0.0, None))
        is_news, due = standing.news != told, self._due.get(device)
        if due is not None and not is_news:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + DELAY_S
        if not is_news:
            when = max(when, told_at + STATE_LEAST_S)
        if due is None or due.when() > when:
            if due is not None:
                due.cancel()
            self._due[device] = loop.call_at(when, self._tell_device_state, device)

    def device_replaced(self, device: str) -> None:
        """Tell a device's state at once: whatever is still on its way of an earlier device of this id comes before."""
        standing = self._standings[device]
        self._publish_device_state(device, standing.device.model_name, standing.status)
        self._gateway_event.set()

    def gateway_changed(self) -> None:
        """Tell the gateway's state, soon."""
        self._gateway_event.set()

    def event(self, device: Device, notice: Notice, mode: Mode) -> None:
        """Tell what a device said that is not a reading."""
        payload = states.event(
            self._origin,
            device_id=device.id,
            model=device.model_name,
            code=notice.code,
            at=self._clock.now().utc,
            mode=mode,
            detail=notice.detail,
        )
        if self._publisher is not None:
            self._publisher.publish_event(states.event_topic(self._origin), payload)

    # ---- what it tells -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell the gateway's state when it changes, and every GATEWAY_STATE_S."""
        while self._publisher is not None:
            self._gateway_event.clear()
            payload = await self._outbox.look(self._gateway_state)
            self._publisher.publish_state(states.gateway_topic(self._origin), payload)
            await asyncio.sleep(STATE_LEAST_S)
            try:
                async with asyncio.timeout(GATEWAY_STATE_S):
                    await self._gateway_event.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(DELAY_S)  # what has changed may be a reading that is on its way: that comes first

    def account(self, outbox: OutboxState) -> Account:
        """Answer the account at this moment; `outbox` is the outbox's state in this step of the loop."""
        sent = self._sent
        standings = {**self._gone, **self._standings}
        devices = {device: standing.status.counts for device, standing in standings.items()}
        return Account(devices, outbox.books, sent.delivered, sent.parked, outbox.depth)

    @property
    def _sent(self) -> PublisherState:
        return PublisherState() if self._publisher is None else self._publisher.state

    def _gateway_state(self, outbox: OutboxState) -> bytes:
        now = self._clock.now().utc
        publisher = self._sent
        return states.gateway_state(
            replace(self._origin, stream=self._outbox.stream),
            state="online",
            at=now,
            reason=outbox.trouble or ("name_in_use" if publisher.rival else self._in_force.reason),
            config_hash=self._in_force.hash,
            in_force=self._in_force,
            clock=self._clock.quality,
            started_at=self._clock.utc_at(self._started),
            outbox_depth=outbox.depth + outbox.held_back,
            outbox_oldest_age_s=_age(outbox.oldest_kept_at, now),
            outbox_parked=outbox.parked,
            outbox_file=_file(outbox),
            refused=publisher.blocked,
            certificates=publisher.certificates,
            account=self.account(outbox),
        )

    def stop(self) -> None:
        """Tell that nobody watches the devices any more: a retained "online" would outlive us."""
        self._is_over = True
        for due in self._due.values():
            due.cancel()
        for device, standing in self._standings.items():
            gone = replace(standing.status, state="unknown", reason="gateway_stopped", detail="", test_until=None)
            self._publish_device_state(device, standing.device.model_name, gone)
        for left_out in self._left_out:
            gone = DeviceStatus("unknown", "gateway_stopped")
            self._publish_device_state(left_out.id, left_out.model_name, gone)

    def _tell_device_state(self, device: str) -> None:
        del self._due[device]
        standing = self._standings.get(device)
        if standing is not None:  # else a reload has taken it away
            self._told[device] = (asyncio.get_running_loop().time(), standing.news)
            self._publish_device_state(device, standing.device.model_name, standing.status)

    def _publish_device_state(self, device: str, model_name: str, status: DeviceStatus) -> None:
        payload = states.device_state(
            self._origin,
            device_id=device,
            model=model_name,
            state=status.state,
            at=self._clock.now().utc,
            reason=status.reason,
            detail=status.detail,
            battery=status.battery,
            identity=status.identity,
            last_seen=status.last_seen,
            last_reading_id=status.last_reading_id,
            held=status.held,
            last_held_reason=status.last_held_reason,
            counts=status.counts,
            also_claimed_by=self._also_claimed_by(device),
            test_until=status.test_until,
        )
        if self._publisher is not None:
            self._publisher.publish_state(states.device_topic(self._origin, device), payload)

    def _also_claimed_by(self, device: str) -> tuple[str, ...]:
        return () if self._claims is None else self._claims.others(device)

    async def look(self, then: Callable[[Account, OutboxState, dict[str, object]], _T]) -> _T:
        """Answer what `then` makes of account, outbox and status, in the one step of the loop in which they are so."""
        return await self._outbox.look(lambda outbox: then(self.account(outbox), outbox, self._status(outbox)))

    async def status(self) -> dict[str, object]:
        """Answer the whole of it, for the control socket."""
        return await self._outbox.look(self._status)

    def _status(self, outbox: OutboxState) -> dict[str, object]:
        now = self._clock.now().utc
        account = self.account(outbox)
        broker = None if self._publisher is None else self._publisher.state
        return {
            "gateway": {
                "id": self._origin.gateway_id,
                "version": self._origin.version,
                "started_at": utc_text(self._clock.utc_at(self._started)),
                "at": utc_text(now),
                "config_hash": self._in_force.hash,
                "config": self._in_force.members(),
                "clock": self._clock.quality.value,
                "stream": None if self._outbox.stream is None else str(self._outbox.stream),
            },
            "broker": None
            if broker is None
            else {
                "connected_to": broker.connected_to,
                "trouble": broker.trouble,
                "rival": broker.rival,
                "certificates": states.certificate_members(broker.certificates, now),
                "blocked": broker.blocked,
                "taken": sorted(broker.taken),
                "delivered": broker.delivered,
                "events_dropped": broker.events_dropped,
            },
            "outbox": {
                "depth": outbox.depth,
                "oldest_age_s": _age(outbox.oldest_kept_at, now),
                "parked": outbox.parked,
                "held_back": outbox.held_back,
                "not_kept": account.all.not_kept,
                "trouble": outbox.trouble,
                **_file(outbox),
            },
            "account": account.members(),
            "replays": None if self._requests is None else self._requests.members(),
            "claims": {"refused": None if self._claims is None else self._claims.refused},
            "devices": {
                **{
                    device: {
                        **_device(one.status, one.device.model_name, one.device.port, one.device.address),
                        "also_claimed_by": list(self._also_claimed_by(device)),
                    }
                    for device, one in self._standings.items()
                },
                **{
                    left_out.id: {**_device(_misconfigured(left_out), left_out.model_name), "also_claimed_by": []}
                    for left_out in self._left_out
                },
            },
        }


def _file(outbox: OutboxState) -> dict[str, object]:
    """Answer how the outbox's file is: what it may take, and what was damaged."""
    return {
        "used_mb": None if outbox.used_bytes is None else round(outbox.used_bytes / MEGABYTE, 1),
        "max_mb": outbox.max_bytes // MEGABYTE,
        "damaged": outbox.damaged,
        "discarded": outbox.discarded,
        "set_aside": [asdict(damage) for damage in outbox.set_aside],
    }


def _misconfigured(device: LeftOut) -> DeviceStatus:
    return DeviceStatus("offline", "misconfigured", device.problem)


def _device(
    status: DeviceStatus, model_name: str, port: str | None = None, address: str | None = None
) -> dict[str, object]:
    return {
        "model": model_name,
        "port": port,
        "address": address,
        "state": status.state,
        "reason": status.reason,
        "detail": status.detail,
        "battery": status.battery,
        "last_seen": utc_text(status.last_seen),
        "last_reading_id": None if status.last_reading_id is None else str(status.last_reading_id),
        "readings": status.counts.readings,
        "held": status.held,
        "last_held_reason": status.last_held_reason,
        "test_until": utc_text(status.test_until),
        "counts": status.counts.members(),
    }


def _age(kept_at: float | None, now: datetime) -> float | None:
    return None if kept_at is None else round(max(0.0, now.timestamp() - kept_at), 3)
