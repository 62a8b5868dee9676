"""What `trace` makes of a kept frame; the rest of it is in tests/system/test_account.py."""

from __future__ import annotations

import pytest

from drivers.contract import Sample
from gateway.catalogue import load_model
from gateway.traces import _decode


@pytest.mark.parametrize(
    ("model", "raw", "characteristic"),
    [
        ("xiaomi-mi-scale", "22203fe607020e10293a", "181D"),
        ("xiaomi-mi-scale", "22203fe607020e10293a", None),
    ],
)
def test_the_frame_of_a_device_that_is_only_heard_is_read_again(
    model: str, raw: str, characteristic: str | None
) -> None:
    events = _decode(load_model(model), bytes.fromhex(raw), characteristic)
    assert [type(event) for event in events] == [Sample]
