"""What all tests share: payloads are held against the schemas that charts are given (docs/schemas)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from simulators.chart import Chart

ENOUGH = 200  # messages of a kind that are looked at after one test
SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"


def closed(part: Any) -> Any:
    """The same schema for the sender: no member that it does not name, no value that is not among `x-known`.

    Consumers ignore the one and hold the other; what we send has neither.
    """
    if isinstance(part, list):
        return [closed(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    made = {key: closed(value) for key, value in part.items()}
    if "x-known" in made:
        made["enum"] = made.pop("x-known")
    if "properties" in made and "required" in made:  # the halves of an if have no required
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="session")
def must_fit() -> Callable[[bytes | str], Any]:
    """Hold one payload of ours against the schema that it names; answer it decoded."""
    validators: dict[str, Draft7Validator] = {}

    def check(payload: bytes | str) -> Any:
        document = json.loads(payload)
        name = str(document["schema"]).replace("/", "-")
        if name not in validators:
            schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
            validators[name] = Draft7Validator(closed(schema))
        validators[name].validate(document)
        return document

    return check


@pytest.fixture(scope="session")
def all_fit(must_fit: Callable[[bytes], Any]) -> Callable[[Chart], None]:
    """Hold what a chart heard against the schemas, of thousands some; an empty message only clears a state."""

    def check(chart: Chart) -> None:
        for heard in (chart.deliveries, chart.events, chart.states):
            for delivery in heard[:: len(heard) // ENOUGH + 1]:
                if delivery.body:
                    must_fit(delivery.body)

    return check
