from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture
def frames() -> Callable[[str], dict[str, bytes]]:
    """The literal frames of one vector file, by id."""

    def load(name: str) -> dict[str, bytes]:
        lines = (VECTORS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return {row["id"]: bytes.fromhex(row["bytes_hex"]) for row in rows}

    return load
