"""What `doctor` says of the broker: name, network, TLS, login, and what may be written and read there.

Laws:

1. Where the service is connected, nothing is probed: that it is connected says all of it, and a site whose broker makes
   the client id of the user would end the service's session.
2. Nothing is published (docs/decisions/0023): which topics the broker takes, the service has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway import probe_broker, tls
from gateway.broker import Address
from gateway.findings import Finding, found, good
from gateway.probe_broker import Look, is_ours, since
from gateway.refusals import NOBODY
from gateway.settings import Settings


def broker(settings: Settings, status: Mapping[str, Any] | None, *, denied: bool) -> Iterator[Finding]:
    """Say how the brokers are. `denied`: a service may run, and we may not ask it."""
    told = None if status is None else status["broker"]
    connected = None if told is None else told["connected_to"]
    if told is not None:
        yield from _of_the_service(told)
    addresses = [address for address in probe_broker.addresses(settings) if str(address) != connected]
    looks = asyncio.run(_looks(settings, addresses))
    others = connected is not None or any(seen.trouble is None for seen in looks)
    for seen in looks:
        yield from _of_a_look(settings, seen, status, others=others, denied=denied)
    if status is not None:
        yield from _rights(settings, status)
    elif any(seen.trouble is None for seen in looks):
        yield found("publish_not_known", "the service, which would know it, does not run or may not be asked")


async def _looks(settings: Settings, addresses: list[Address]) -> list[Look]:
    return list(await asyncio.gather(*(probe_broker.look(settings, address) for address in addresses)))


def _of_the_service(told: Mapping[str, Any]) -> Iterator[Finding]:
    if told["rival"]:
        yield found("name_in_use", str(told["rival"]))
    if told["connected_to"] is None:
        return  # the look at that broker says why
    days = [f"{whose}'s certificate for {own['days_left']} days" for whose, own in told["certificates"].items()]
    yield good("broker", ", ".join([f"the service is connected to {told['connected_to']}", *days]))
    for whose, own in told["certificates"].items():
        if own["days_left"] < tls.EXPIRING_DAYS:
            yield found("certificate_ending", f"the {whose}'s ends in {own['days_left']} days")


def _of_a_look(
    settings: Settings, seen: Look, status: Mapping[str, Any] | None, *, others: bool, denied: bool
) -> Iterator[Finding]:
    if seen.trouble is not None:
        code = "broker_one_away" if others else "broker_refused" if seen.refused else "broker_away"
        yield found(code, seen.trouble)
        return
    yield good("broker", f"{seen.address} is there, and lets this login in")
    for whose, ends in seen.certificates.items():
        left = (ends - datetime.now(UTC)).days
        if tls.expiring(ends, datetime.now(UTC)):
            yield found("certificate_ending", f"the {whose}'s ends in {left} days")
    name = f"vitals/v1/{settings.site}/{settings.room}"
    if seen.gateway is not None and not denied and not is_ours(seen.gateway, status):
        words = f"a gateway that is not this machine's is online as {name} ({since(seen.gateway)})"
        yield found("name_in_use", words)
    for topic, why in seen.not_readable.items():
        code = "name_not_known" if topic == f"{name}/gateway" else "subscribe_refused"
        yield found(code, f"{topic}: {why}")
    for device, rooms in seen.claimed_by.items():
        yield found("claimed_twice", f"also in the configuration of: {', '.join(rooms)}", of=device)


def _rights(settings: Settings, status: Mapping[str, Any]) -> Iterator[Finding]:
    base = f"vitals/v1/{settings.site}/{settings.room}"
    told = status["broker"]
    for topic, why in told["blocked"].items():
        yield found("nobody_subscribed" if why == NOBODY else "publish_refused", f"{topic}: {why}")
    refused = {
        f"{base}/in/replay": (status["replays"] or {}).get("refused"),
        f"vitals/v1/{settings.site}/claim/#": status["claims"]["refused"],
    }
    for topic, why in refused.items():
        if why:
            yield found("subscribe_refused", f"{topic}: {why}")
    taken, known = set(told["taken"]), set(told["taken"]) | set(told["blocked"])
    if taken:
        leaves = sorted(topic.removeprefix(f"{base}/").removeprefix(f"vitals/v1/{settings.site}/") for topic in taken)
        yield good("broker", f"it took what was sent to {', '.join(leaves)}, since the service started")
    unknown = [leaf for leaf in ("reading", "quarantine", "event") if f"{base}/{leaf}" not in known]
    if "reading" in unknown:
        yield found("publish_not_known", f"nothing was sent yet to {', '.join(unknown)}, since the service started")
