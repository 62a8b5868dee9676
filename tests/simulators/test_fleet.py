"""The fleet: what the rooms were told is acknowledged comes to one of the workers, and each stream is whole."""

from __future__ import annotations

import json

import pytest

from simulators import fleet
from simulators.broker import own_broker
from simulators.chart import Chart, Delivery
from simulators.fleet import Account, run_fleet
from simulators.fleet_room import Room

PATIENCE_S = 20.0


async def test_twenty_rooms_and_three_workers_that_share_them_add_up() -> None:
    async with own_broker(server="mosquitto", config=fleet.BROKER_CONFIG) as broker:
        account = await run_fleet(broker.host, broker.port, rooms=20, workers=3, interval_s=0.05, seconds=1.5)
    assert account.adds_up
    assert (account.rooms, account.online, account.gaps, account.doubles) == (20, 20, 0, 0)
    assert account.published >= 40
    assert sum(account.workers) == account.published
    assert min(account.workers) > 0  # each worker has its share


async def test_what_a_broker_drops_is_a_gap_in_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Chart.take

    def drop(chart: Chart, delivery: Delivery) -> None:
        if (delivery.payload or {}).get("sequence") != 2:
            take(chart, delivery)

    monkeypatch.setattr(Chart, "take", drop)
    monkeypatch.setattr(fleet, "_ARRIVAL_S", 1.0)
    async with own_broker(server="mosquitto", config=fleet.BROKER_CONFIG) as broker:
        account = await run_fleet(broker.host, broker.port, rooms=3, workers=2, interval_s=0.05, seconds=1.0)
    assert (account.gaps, account.received) == (3, account.published - 3)
    assert not account.adds_up


async def test_a_room_speaks_by_the_contract() -> None:
    async with own_broker(server="mosquitto") as broker, Chart(broker.host, broker.port, "vitals/v1/#") as chart:
        room = Room(broker.host, broker.port, "fleet", "room-1", seed=1)
        await room.open()
        await room.publish()
        await room.publish()
        assert room._writer is not None
        room._writer.transport.abort()
        await chart.wait_for(lambda chart: len(chart.states) == 2 and len(chart.deliveries) == 2, PATIENCE_S)
        told = [json.loads(delivery.body) for delivery in chart.states]
        assert [(state["state"], state["reason"]) for state in told] == [
            ("online", None),
            ("offline", "connection_lost"),
        ]
        assert all(delivery.retained for delivery in chart.states)
        assert {delivery.topic for delivery in chart.deliveries} == {"vitals/v1/fleet/room-1/test/reading"}
        assert [(delivery.payload or {})["sequence"] for delivery in chart.deliveries] == [1, 2]
        assert {(delivery.payload or {})["mode"] for delivery in chart.deliveries} == {"test"}
        assert chart.gaps == {}
        await room.close()


def test_the_table_has_a_line_a_worker() -> None:
    account = Account(2, 10, 9, 1, 0, 3, 2, (5, 4))
    assert [line.split()[-1] for line in account.lines()] == ["2", "2", "10", "9", "1", "0", "3", "5", "4"]


@pytest.mark.parametrize("url", ["mqtts://broker", "broker:1883", "mqtt://user:secret@broker"])
def test_a_broker_that_it_cannot_speak_to_is_told_at_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fleet.main(["--broker", url])
    assert "a broker is mqtt://HOST[:PORT]" in capsys.readouterr().err
