from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import (
    BACK_AFTER_S,
    MERGE_WAIT_S,
    SPLIT_PAUSE_S,
    STALL_S,
    Action,
    Fault,
    Faults,
    Replug,
    Unplug,
    Write,
    fault_named,
)

FRAME = b"ST,+00083.70 kg\r\n"


def met(fault: Fault, seed: int = 1) -> Faults:
    faults = Faults(seed)
    faults.inject(fault)
    return faults


def test_without_faults_bytes_pass() -> None:
    assert Faults().apply(FRAME, 0.1) == [Write(FRAME)]
    assert Faults().apply(b"", 0.1) == []


def test_drop_loses_one_frame() -> None:
    faults = met(Fault.DROP)
    assert faults.apply(FRAME, 0.1) == []
    assert faults.apply(FRAME, 0.1) == [Write(FRAME)]


def test_split_sends_the_rest_after_a_pause_and_in_order() -> None:
    faults = met(Fault.SPLIT)
    (first,) = faults.apply(FRAME, 0.1)
    assert isinstance(first, Write)
    assert 0 < len(first.data) < len(FRAME)
    assert FRAME.startswith(first.data)
    assert faults.apply(b"next", SPLIT_PAUSE_S / 2) == []
    assert faults.apply(b"", SPLIT_PAUSE_S) == [Write(FRAME[len(first.data) :] + b"next")]


def test_merge_glues_a_frame_to_the_next_or_lets_it_go() -> None:
    faults = met(Fault.MERGE)
    assert faults.apply(FRAME, 0.1) == []
    assert faults.apply(b"next", 0.1) == [Write(FRAME + b"next")]
    faults.inject(Fault.MERGE)
    assert faults.apply(FRAME, 0.1) == []
    assert faults.apply(b"", MERGE_WAIT_S) == [Write(FRAME)]


@pytest.mark.parametrize("seed", range(20))
def test_garble_changes_one_bit(seed: int) -> None:
    (action,) = met(Fault.GARBLE, seed).apply(FRAME, 0.1)
    assert isinstance(action, Write)
    changed = [a ^ b for a, b in zip(action.data, FRAME, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0].bit_count() == 1


def test_stall_is_silence_and_then_it_goes_on() -> None:
    faults = met(Fault.STALL)
    assert faults.apply(FRAME, STALL_S / 2) == []
    assert faults.apply(FRAME, STALL_S) == [Write(FRAME)]


def test_unplug_lasts_until_replug() -> None:
    faults = met(Fault.UNPLUG)
    assert faults.apply(FRAME, 0.1) == [Unplug()]
    assert faults.apply(FRAME, 1000.0) == []
    faults.inject(Fault.REPLUG)
    assert faults.apply(FRAME, 0.1) == [Replug(), Write(FRAME)]
    faults.inject(Fault.REPLUG)
    assert faults.apply(b"", 0.1) == []


def test_out_of_range_is_all_nines_in_the_first_decimal_number() -> None:
    assert met(Fault.OUT_OF_RANGE).apply(FRAME, 0.1) == [Write(b"ST,+99999.99 kg\r\n")]
    packet = b"\x1bR\x1bISIM-000001\x1bW83.7\x1bH0.0\x1bB0.0\x1bNm\x1bE"
    assert met(Fault.OUT_OF_RANGE).apply(packet, 0.1) == [Write(packet.replace(b"83.7", b"99.9"))]


def test_noise_comes_before_the_frame() -> None:
    (action,) = met(Fault.NOISE).apply(FRAME, 0.1)
    assert isinstance(action, Write)
    assert action.data.endswith(FRAME)
    assert len(action.data) > len(FRAME)


def test_a_standing_unplug_ends_by_itself() -> None:
    faults = Faults(seed=1, standing=[Fault.UNPLUG])
    actions: list[Action] = []
    while Unplug() not in actions:
        actions += faults.apply(FRAME, 0.1)
    assert faults.apply(FRAME, BACK_AFTER_S / 2) == []
    assert faults.apply(b"", BACK_AFTER_S) == [Replug()]


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    assert fault_named("out_of_range") is Fault.OUT_OF_RANGE
    with pytest.raises(ValueError, match="drop, split, merge"):
        fault_named("explode")


@given(
    st.lists(st.tuples(st.binary(max_size=20), st.floats(0, 5), st.none() | st.sampled_from(Fault)), max_size=40),
    st.integers(),
)
def test_the_same_calls_give_the_same_actions(steps: list[tuple[bytes, float, Fault | None]], seed: int) -> None:
    def play() -> list[list[Action]]:
        faults = Faults(seed, standing=[Fault.GARBLE, Fault.UNPLUG])
        seen = []
        for data, dt_s, fault in steps:
            if fault is not None:
                faults.inject(fault)
            seen.append(faults.apply(data, dt_s))
        return seen

    assert play() == play()


@given(st.lists(st.tuples(st.binary(max_size=20), st.sampled_from([None, Fault.SPLIT, Fault.MERGE])), max_size=40))
def test_split_and_merge_lose_and_disorder_nothing(steps: list[tuple[bytes, Fault | None]]) -> None:
    faults = Faults(seed=2)
    out = b""
    for data, fault in steps:
        if fault is not None:
            faults.inject(fault)
        for action in faults.apply(data, 0.05):
            assert isinstance(action, Write)
            out += action.data
    for action in faults.apply(b"", MERGE_WAIT_S):
        assert isinstance(action, Write)
        out += action.data
    assert out == b"".join(data for data, _ in steps)
