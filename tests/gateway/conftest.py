from __future__ import annotations

from pathlib import Path

import pytest

from gateway import config
from gateway.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A room with one scale and a broker that is away."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        'site: northside\nroom: exam-3\nbroker: {url: "mqtt://127.0.0.1:1"}\noutbox: {path: outbox.db}\n'
        "devices: [{id: scale, model: and-standard-scale, port: /dev/null}]\n"
    )
    loaded = config.load(file).settings
    assert loaded is not None
    return loaded
