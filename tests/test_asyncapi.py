"""docs/asyncapi.yaml names every topic, as the code says it: with its direction, its retention and its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from jsonschema import Draft7Validator

from gateway import payload, states
from gateway.announcements import Announcements
from gateway.broker import Message
from gateway.catalogue import load_model
from gateway.claims import Claims
from gateway.payload import Origin
from gateway.reading import ClockQuality, Device, Disposition, Mode, Reading, Times
from gateway.settings import Device as Configured

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
ORIGIN = Origin("{site}", "{room}", "0.1.0", None)
NOBODY = Times(None, None, "gateway", None, ClockQuality.SYNCED)  # type: ignore[arg-type]  # only the topic is asked for

# What AsyncAPI 3.0 knows, as far as it is used here: a misspelt key is an error.
KNOWN = {
    "document": {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"},
    "servers": {"host", "protocol", "protocolVersion", "description", "security", "bindings"},
    "channels": {"address", "description", "parameters", "messages"},
    "operations": {"action", "channel", "bindings", "reply"},
    "messages": {"title", "headers", "payload", "bindings", "examples"},
    "parameters": {"description", "examples"},
    "components": {"securitySchemes", "parameters", "messages"},
}


def resolve(reference: str) -> Any:
    file, _, pointer = reference.partition("#")
    at = json.loads((DOCS / file).read_text(encoding="utf-8")) if file else DOCUMENT
    for step in pointer.split("/")[1:]:
        at = at[step]
    return at


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from [part["$ref"]] if "$ref" in part else []
        for below in part.values():
            yield from references(below)
    elif isinstance(part, list):
        for below in part:
            yield from references(below)


def address(operation: dict[str, Any]) -> str:
    answer: str = resolve(operation["channel"]["$ref"])["address"]
    return answer


def reading_topics() -> set[str]:
    nothing = Reading(uuid4(), Device("it", "m", "A&D"), Mode.REAL, NOBODY, ())
    return {payload.topic(replace(nothing, mode=m, disposition=d), ORIGIN) for m in Mode for d in Disposition}


def claim() -> Claims:
    cuff = load_model("and-ua-651ble")
    device = Configured("cuff", "and-ua-651ble", cuff, cuff.line, address="C8:1E:8E:00:00:01")
    return Claims(ORIGIN, [device], lambda _: None)


def claim_topics() -> set[str]:
    return {topic.replace("c81e8e000001", "{address}") for topic in claim().states}


RETAINED = {states.gateway_topic(ORIGIN), states.device_topic(ORIGIN, "{id}"), *claim_topics()}
ONCE = {*reading_topics(), states.event_topic(ORIGIN), states.replay_topic(ORIGIN)}
HEARD = {states.replay_request_topic(ORIGIN), *claim_topics()}


def test_it_is_version_3_and_has_no_key_of_its_own() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT.keys() == KNOWN["document"]
    assert DOCUMENT["components"].keys() == KNOWN["components"]
    for part, known in KNOWN.items():
        for of in (DOCUMENT.get(part, {}), DOCUMENT["components"].get(part, {})):
            for name, entry in of.items() if part not in ("document", "components") else ():
                assert entry.keys() <= known, name


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    found = set(references(DOCUMENT))
    for reference in found:
        assert isinstance(resolve(reference), dict), reference
    for part in ("parameters", "messages", "securitySchemes"):
        for name in DOCUMENT["components"][part]:
            assert f"#/components/{part}/{name}" in found
    assert {file for file in found if file.startswith("schemas/")} == {f"schemas/{f.name}" for f in SCHEMAS}


SCHEMAS = sorted((DOCS / "schemas").glob("*.json"))


def test_it_has_the_topics_that_the_code_has_and_no_other() -> None:
    assert sorted(channel["address"] for channel in DOCUMENT["channels"].values()) == sorted(RETAINED | ONCE | HEARD)


@pytest.mark.parametrize("name", DOCUMENT["channels"])
def test_a_channels_parameters_are_those_of_its_address(name: str) -> None:
    channel = DOCUMENT["channels"][name]
    assert (
        re.findall(r"\{(\w+)\}", channel["address"])
        == [*(key for key in channel["parameters"] if f"{{{key}}}" in channel["address"])]
        or set(re.findall(r"\{(\w+)\}", channel["address"])) == channel["parameters"].keys()
    )
    (message,) = channel["messages"].values()
    assert message["$ref"].startswith("#/components/messages/")


def test_what_is_sent_and_heard_is_at_qos_1_and_retained_as_the_code_does_it() -> None:
    sent: dict[str, bool] = {}
    heard: dict[str, bool] = {}
    for operation in DOCUMENT["operations"].values():
        mqtt = operation["bindings"]["mqtt"]
        assert mqtt["qos"] == 1
        {"send": sent, "receive": heard}[operation["action"]][address(operation)] = mqtt["retain"]
    assert sent == {topic: topic in RETAINED for topic in RETAINED | ONCE}
    assert heard == {topic: topic in RETAINED for topic in HEARD}


def test_the_code_retains_states_alone() -> None:
    told = Announcements()
    told.set_state("state", b"{}")
    told.add_event("event", b"{}")
    assert [told.take(), told.take()] == [Message("state", b"{}", retain=True), Message("event", b"{}", retain=False)]


def test_the_will_is_the_gateways_state() -> None:
    mqtt = DOCUMENT["servers"]["broker"]["bindings"]["mqtt"]
    assert (mqtt["lastWill"]["topic"], mqtt["lastWill"]["retain"]) == (states.gateway_topic(ORIGIN), True)
    assert mqtt["clientId"] == "{site}.{room}"


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_the_examples_of_a_message_fit_its_schema(name: str) -> None:
    message = DOCUMENT["components"]["messages"][name]
    schema = resolve(message["payload"]["$ref"])
    Draft7Validator.check_schema(schema)
    assert schema["title"] == message["title"]
    for example in message.get("examples", ()):
        Draft7Validator(schema).validate(example["payload"])


def test_the_mark_of_what_is_sent_again_is_the_codes() -> None:
    from gateway.mqtt import _publish_properties

    headers = DOCUMENT["components"]["messages"]["reading"]["headers"]["properties"]
    bindings = DOCUMENT["components"]["messages"]["reading"]["bindings"]["mqtt"]
    said = _publish_properties(replayed=True).json()  # type: ignore[no-untyped-call]  # paho leaves it untyped
    assert [list(pair) for pair in said["UserProperty"]] == [[name, what["const"]] for name, what in headers.items()]
    assert (said["ContentType"], said["PayloadFormatIndicator"]) == (
        bindings["contentType"],
        bindings["payloadFormatIndicator"],
    )


def test_the_page_for_charts_names_every_topic() -> None:
    page = (DOCS / "chart.md").read_text(encoding="utf-8")
    for channel in DOCUMENT["channels"].values():
        assert channel["address"].replace("vitals/v1/{site}/{room}", "B") in page, channel["address"]
