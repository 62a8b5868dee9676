"""A clustered broker: three nats-servers, each message on all three (MQTT 3.1.1 over JetStream, R3), killed in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulators.chart import Chart
from simulators.cluster import OwnCluster
from simulators.proxy import Proxy

BASE = "vitals/v1/northside/exam-3"
PATIENCE_S = 40.0

NewSender = Callable[..., Any]


@pytest.mark.timeout(150)
async def test_each_node_killed_in_turn_under_load_costs_nothing_that_was_committed(new_sender: NewSender) -> None:
    """The gateway fails over by its list. The chart reads persistently, through whichever node lets it in."""
    async with OwnCluster() as cluster, Proxy(*reversed(cluster.ports)) as way_in:
        chart = Chart("127.0.0.1", way_in.port, f"{BASE}/#", protocol=4)
        await chart.start()
        sender = new_sender(*cluster.ports, protocol=4)
        idents: list[str] = []

        def whole(chart: Chart) -> bool:
            return set(chart.readings) == set(idents)

        def begun(chart: Chart) -> bool:
            return len(chart.readings) >= len(idents) - 80

        for node in range(3):
            idents += await sender.keep(100)
            await chart.wait_for(begun, PATIENCE_S)
            await cluster.kill(node)  # with the window on its way
            idents += await sender.keep(50)
            await chart.wait_for(whole, PATIENCE_S)  # by the two that are left
            await cluster.start(node)
        await sender.until_depth(0)
        assert chart.gaps == {}
        assert {ident for ident, _ in chart.duplicates} <= set(idents)  # at least once: the same id, the same sequence
        assert sorted({(d.payload or {})["sequence"] for d in chart.deliveries}) == list(range(1, 451))
        assert len({(d.payload or {})["id"] for d in chart.deliveries}) == 450
        await chart.stop()
