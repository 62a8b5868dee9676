"""The account as Prometheus metrics: on a port of loopback, or in a file for node_exporter's textfile collector.

The only importer of prometheus_client; imported only where the YAML says `metrics:`. Counts and states alone, never a
value of a vital. One page is one snapshot (account.py). Names and units by prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway import settings
from gateway.account import Account
from gateway.health import Health
from gateway.outbox_state import OutboxState

_log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
WRITE_S = 15.0
RETRY_S = 30.0
REQUEST_S = 5.0
REQUEST_LIMIT = 8192
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_P = "vitals_gateway"


class _Snapshot(Collector):
    """What one page says."""

    def __init__(self, account: Account, outbox: OutboxState, status: Mapping[str, Any]) -> None:
        self._account = account
        self._outbox = outbox
        self._status = status

    def collect(self) -> Iterator[Metric]:
        yield from self._devices()
        yield from self._gateway()
        yield from self._replays()

    def _devices(self) -> Iterator[Metric]:
        counts = self._account.devices
        for name, what, of in (
            ("frames", "Frames of a device: each ended as a sample, a notice or a rejection", "frames"),
            ("samples", "Measurements as a device said them", "samples"),
            ("notices", "Frames that say something that is no measurement", "notices"),
            ("repeats", "Samples of records that were kept before", "repeats"),
            ("readings_not_kept", "Readings that the disk did not take: lost", "not_kept"),
        ):
            family = CounterMetricFamily(f"{_P}_{name}", what, labels=["device"])
            for device, one in counts.items():
                family.add_metric([device], getattr(one, of))
            yield family
        rejected = CounterMetricFamily(
            f"{_P}_rejected_frames", "Frames that were rejected", labels=["device", "reason"]
        )
        readings = CounterMetricFamily(
            f"{_P}_readings",
            "Readings on disk; of held ones the first reason",
            labels=["device", "disposition", "reason"],
        )
        committing = GaugeMetricFamily(f"{_P}_readings_committing", "Readings not yet on disk", labels=["device"])
        online = GaugeMetricFamily(f"{_P}_device_online", "1: heard, and nothing is wrong", labels=["device"])
        for device, one in counts.items():
            for reason, count in one.rejected.items():
                rejected.add_metric([device, reason], count)
            readings.add_metric([device, "usable", ""], one.usable)
            for reason, count in one.held.items():
                readings.add_metric([device, "hold", reason], count)
            committing.add_metric([device], one.committing)
            if device in self._status["devices"]:  # one that a reload has removed stays counted
                online.add_metric([device], self._status["devices"][device]["state"] == "online")
        for device, one_status in self._status["devices"].items():
            if device not in counts:  # left out of the configuration: not attended, and to be missed
                online.add_metric([device], one_status["state"] == "online")
        yield from (rejected, readings, committing, online)

    def _gateway(self) -> Iterator[Metric]:
        account, outbox, gateway = self._account, self._outbox, self._status["gateway"]
        yield InfoMetricFamily(
            _P,
            "Which gateway this is",
            {name: gateway[name] or "" for name in ("id", "version", "config_hash", "stream")},
        )
        for name, what, count in (
            ("revisions", "Corrections of readings, on disk", account.books.revisions),
            ("delivered_rows", "Rows that a broker acknowledged", account.delivered),
            ("parked_rows", "Rows that a broker will never take", account.parked),
            ("damaged_rows", "Rows whose bytes are not those that were kept: parked", account.books.damaged),
        ):
            yield CounterMetricFamily(f"{_P}_{name}", what, value=count)
        for name, what, value in (
            ("outbox_waiting_rows", "Rows that wait for the broker", account.waiting),
            (
                "outbox_waiting_at_start_rows",
                "Rows that waited when the service started",
                account.books.waiting_at_start,
            ),
            (
                "outbox_replaced_rows",
                "Where a damaged file was replaced: salvaged rows less those that waited",
                account.books.replaced,
            ),
            ("outbox_used_bytes", "What the outbox takes on the disk", outbox.used_bytes or 0),
            ("outbox_max_bytes", "What it may take", outbox.max_bytes),
            ("outbox_files_set_aside", "Damaged files that wait for a person", len(outbox.set_aside)),
            ("outbox_parked_rows", "Rows parked, of earlier starts too", outbox.parked),
            ("outbox_held_back_readings", "Readings in memory that the disk does not take", outbox.held_back),
            (
                "outbox_oldest_waiting_age_seconds",
                "Age of the oldest waiting row",
                self._status["outbox"]["oldest_age_s"] or 0,
            ),
            ("outbox_trouble", "1: the disk fails", outbox.trouble is not None),
            ("broker_connected", "1: there is a connection", self._status["broker"]["connected_to"] is not None),
            ("broker_refused_topics", "Topics that the broker refuses", len(self._status["broker"]["blocked"])),
            ("clock_synchronized", "1: a time server keeps the clock", gateway["clock"] == "synced"),
            (
                "config_last_good",
                "1: the YAML is bad, and the last good configuration runs",
                gateway["config"]["in_force"] == "last_good",
            ),
            ("config_devices_left_out", "Devices that the YAML is wrong about", len(gateway["config"]["left_out"])),
            ("account_balanced", "1: the account adds up; 0 is a defect of the gateway", not account.unbalanced()),
        ):
            yield GaugeMetricFamily(f"{_P}_{name}", what, value=value)

    def _replays(self) -> Iterator[Metric]:
        replays = self._status["replays"] or {"said": {}, "requests": {}}
        for name, what, counts in (
            ("replayed_rows", "Rows sent again on request, by what the broker said", replays["said"]),
            ("replay_requests", "Requests on in/replay: accepted, or why refused", replays["requests"]),
        ):
            family = CounterMetricFamily(f"{_P}_{name}", what, labels=["result"])
            for result, count in counts.items():
                family.add_metric([result], count)
            yield family


class Metrics:
    """Serves and writes what `health` tells, until it is cancelled. A port or file that fails is logged, no more."""

    def __init__(self, where: settings.Metrics, health: Health) -> None:
        self._where = where
        self._health = health

    async def page(self) -> bytes:
        """Answer the whole page, of this moment."""
        return await self._health.look(_page)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._where.port is not None:
                group.create_task(self._serve(self._where.port))
            if self._where.textfile is not None:
                group.create_task(self._write(self._where.textfile))

    async def _serve(self, port: int) -> None:
        while True:
            try:
                server = await asyncio.start_server(self._answer, LOOPBACK, port, limit=REQUEST_LIMIT)
            except OSError as error:
                _log.warning("no metrics on port %d (%s): is it another program's?", port, error.strerror)
                await asyncio.sleep(RETRY_S)
                continue
            async with server:
                await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                asked = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].split()
                if asked[:2] == [b"GET", b"/metrics"]:
                    status, body = "200 OK", await self.page()
                else:
                    status, body = "404 Not Found", b"GET /metrics\n"
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            _log.debug("a client of the metrics' port was too slow, too long or gone")
        finally:
            writer.close()

    async def _write(self, file: Path) -> None:
        failed = False
        try:
            while True:
                page = await self.page()
                try:
                    await asyncio.to_thread(_replace, file, page)
                    failed = False
                except OSError as error:
                    if not failed:
                        _log.warning(
                            "%s cannot be written (%s): let the service's user write there", file, error.strerror
                        )
                    failed = True
                await asyncio.sleep(WRITE_S)
        finally:  # what nobody renews would look like now
            with suppress(OSError):
                file.unlink(missing_ok=True)  # noqa: ASYNC240 - we are being cancelled: one call, and no waiting


def _page(account: Account, outbox: OutboxState, status: dict[str, object]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(account, outbox, status))
    return generate_latest(registry)


def _replace(file: Path, page: bytes) -> None:
    """Put the page in the file's place at once: nobody reads half of it."""
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(page)
    new.chmod(0o644)  # node_exporter is another user
    new.replace(file)
