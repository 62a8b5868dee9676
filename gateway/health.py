"""What the gateway tells of itself: retained states, events, and the answer to `status`. Never a value of a vital."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from drivers.contract import Notice
from gateway import states
from gateway.clock import Clock
from gateway.mqtt import Message
from gateway.outbox import Outbox
from gateway.payload import Origin, utc_text
from gateway.publisher import Publisher
from gateway.reading import Mode
from gateway.settings import Device
from gateway.standing import DeviceStatus, Standing

DELAY_S = 0.25  # changes that come together go out as one state
GATEWAY_STATE_S = 60.0  # at the latest
GATEWAY_STATE_LEAST_S = 1.0  # between two of them


class Health:
    """Publishes states when they change; the parts call it on the event loop."""

    def __init__(self, origin: Origin, config_hash: str, clock: Clock, outbox: Outbox) -> None:
        self._origin = origin
        self._config_hash = config_hash
        self._clock = clock
        self._outbox = outbox
        self._started_at = clock.now().utc
        self._changed: set[str] = set()
        self._flush: asyncio.TimerHandle | None = None
        self._gateway_event = asyncio.Event()
        self._publisher: Publisher | None = None
        self._standings: Mapping[str, Standing] = {}

    def attach(self, publisher: Publisher, standings: Mapping[str, Standing]) -> None:
        """Take the parts that are to be told of; each begins with a state."""
        self._publisher = publisher
        self._standings = standings
        for device in standings:
            self.device_changed(device)

    @property
    def topics(self) -> list[str]:
        """The topics that hold a retained state of this configuration."""
        return [
            states.gateway_topic(self._origin),
            *(states.device_topic(self._origin, device) for device in self._standings),
        ]

    def farewell(self, reason: str, at: datetime | None = None) -> Message:
        """Answer the offline state: `connection_lost` is the will's reason, whose time nobody can know."""
        payload = states.gateway_state(
            self._origin,
            state="offline",
            at=at,
            reason=reason,
            config_hash=self._config_hash,
            started_at=self._started_at,
        )
        return Message(states.gateway_topic(self._origin), payload)

    # ---- what the parts call -------------------------------------------------------------------------------------

    def device_changed(self, device: str) -> None:
        """Tell a device's state, soon."""
        self._changed.add(device)
        self._gateway_event.set()
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(DELAY_S, self._publish_device_states)

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
            outbox = await self._outbox.state()
            now = self._clock.now().utc
            payload = states.gateway_state(
                self._origin,
                state="online",
                at=now,
                reason=outbox.trouble or ("name_in_use" if self._publisher.state.rival else None),
                config_hash=self._config_hash,
                clock=self._clock.quality,
                started_at=self._started_at,
                outbox_depth=outbox.depth + outbox.held_back,
                outbox_oldest_age_s=_age(outbox.oldest_kept_at, now),
                outbox_parked=outbox.parked,
                refused=self._publisher.state.blocked,
                certificates=self._publisher.state.certificates,
                held=sum(standing.status.held for standing in self._standings.values()),
                not_kept=outbox.not_kept,
            )
            self._publisher.publish_state(states.gateway_topic(self._origin), payload)
            await asyncio.sleep(GATEWAY_STATE_LEAST_S)
            try:
                async with asyncio.timeout(GATEWAY_STATE_S):
                    await self._gateway_event.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Tell that nobody watches the devices any more: a retained "online" would outlive us."""
        if self._flush is not None:
            self._flush.cancel()
        for device, standing in self._standings.items():
            gone = replace(standing.status, state="unknown", reason="gateway_stopped", detail="")
            self._publish_device_state(device, gone)

    def _publish_device_states(self) -> None:
        self._flush = None
        changed, self._changed = self._changed, set()
        for device in changed:
            self._publish_device_state(device, self._standings[device].status)

    def _publish_device_state(self, device: str, status: DeviceStatus) -> None:
        payload = states.device_state(
            self._origin,
            device_id=device,
            model=self._standings[device].device.model_name,
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
        )
        if self._publisher is not None:
            self._publisher.publish_state(states.device_topic(self._origin, device), payload)

    async def status(self) -> dict[str, object]:
        """Answer the whole of it, for the control socket."""
        outbox = await self._outbox.state()
        now = self._clock.now().utc
        broker = None if self._publisher is None else self._publisher.state
        return {
            "gateway": {
                "id": self._origin.gateway_id,
                "version": self._origin.version,
                "started_at": utc_text(self._started_at),
                "at": utc_text(now),
                "config_hash": self._config_hash,
                "clock": self._clock.quality.value,
                "stream": str(self._origin.stream),
            },
            "broker": None
            if broker is None
            else {
                "connected_to": broker.connected_to,
                "trouble": broker.trouble,
                "rival": broker.rival,
                "certificates": states.certificate_members(broker.certificates, now),
                "blocked": broker.blocked,
                "delivered": broker.delivered,
                "events_dropped": broker.events_dropped,
            },
            "outbox": {
                "depth": outbox.depth,
                "oldest_age_s": _age(outbox.oldest_kept_at, now),
                "parked": outbox.parked,
                "held_back": outbox.held_back,
                "not_kept": outbox.not_kept,
                "trouble": outbox.trouble,
            },
            "devices": {device: _device(standing) for device, standing in self._standings.items()},
        }


def _device(standing: Standing) -> dict[str, object]:
    status = standing.status
    return {
        "model": standing.device.model_name,
        "port": standing.device.port,
        "address": standing.device.address,
        "state": status.state,
        "reason": status.reason,
        "detail": status.detail,
        "battery": status.battery,
        "last_seen": utc_text(status.last_seen),
        "last_reading_id": None if status.last_reading_id is None else str(status.last_reading_id),
        "readings": status.readings,
        "held": status.held,
        "last_held_reason": status.last_held_reason,
        "counts": status.counts.members(),
    }


def _age(kept_at: float | None, now: datetime) -> float | None:
    return None if kept_at is None else round(max(0.0, now.timestamp() - kept_at), 3)
