"""The packaged data files: device rows, ranges, the example. They are held against the makers' words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from drivers import registry
from drivers.contract import Event, Sample
from drivers.models import DeviceModel, LoadNotice, SensorNotice
from gateway.catalogue import CatalogueError, data_folder, load_model, load_ranges, model_names
from gateway.config import load
from gateway.vocabulary import KINDS

ROWS = model_names()
HEALTH_O_METER = [name for name in ROWS if load_model(name).driver == "health_o_meter"]

# Pelstar "Communication Protocols" REV20230711, p. 10 and 12: these send weights that are not locked
SENDS_UNLOCKED = {
    "health-o-meter-597kl-3.1.12",
    "health-o-meter-599kl-3.1.12",
    "health-o-meter-752kl-3.1.12",
    "health-o-meter-600kl-3.2.02",
}
SEVERAL_A_SECOND = "health-o-meter-600kl-3.2.02"  # p. 12: three equal packets would be less than a second
# the same, p. 2: the small ones, and those of the large platforms by the letter in their serial number
SMALL = "498 500 597 599 600 752"
LARGE_E = "1100 1110 2000 2101 2400 2500 2600 2610 2650 2700 2900 3001 3105"
LARGE_L = "1100 2000 2101 2400 2500 2600 2610 2650 2700 3001"

PACKET = b"\x1bR\x1bI1234567890\x1bW184.5\x1bH84.0\x1bB24.1\x1bT0.0\x1bNc\x1bE"  # p. 5
STABLE_KG = b"ST,+00082.35 kg\r\n"  # A&D EK-L manual, section 9-2
FORMAT_2 = b"ST,+002.40kg\r\n"  # A&D HV-WP/HW-WP manual, section 16
CODES = set(get_args(LoadNotice))


def heard(model: DeviceModel, frames: list[bytes]) -> list[Event]:
    """What a fresh driver of this model makes of frames a second apart, after an empty scale and before silence."""
    driver = registry.driver(model)
    events = list(driver.tick(0.0).events)
    events += driver.tick(20.0).events  # silence first: nobody joins a stream in its middle
    for second, frame in enumerate(frames):
        events += driver.feed(frame, 21.0 + second).events
    return [*events, *driver.tick(21.0 + len(frames) + 20.0).events]


def readings(model: DeviceModel, frames: list[bytes]) -> list[Sample]:
    return [event for event in heard(model, frames) if isinstance(event, Sample)]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_rests_on_a_source_and_claims_no_hardware(name: str) -> None:
    row = load_model(name)
    assert row.sources
    assert all(re.search(r"\bp\. \d|/", source) for source in row.sources), "a page, or a repository's file"
    assert row.evidence
    assert "hardware" not in row.evidence
    assert row.notes
    assert {*row.settling.breaks, *row.settling.doubts} <= CODES
    assert set(row.spot_check.breaks) <= set(get_args(SensorNotice))


def test_the_models_that_the_maker_names_have_rows() -> None:
    large = {f"health-o-meter-{number}kl-e" for number in LARGE_E.split()}
    large |= {f"health-o-meter-{number}kl-l" for number in LARGE_L.split()}
    small = {f"health-o-meter-{number}kl" for number in SMALL.split()}
    assert large | small | SENDS_UNLOCKED | {"health-o-meter-2210kl-am"} == set(HEALTH_O_METER)


@pytest.mark.parametrize("name", HEALTH_O_METER)
def test_equal_packets_are_one_reading(name: str) -> None:
    row = load_model(name)
    assert len(readings(row, [PACKET] * 10)) == 1
    enough = 6 if name == SEVERAL_A_SECOND else 3 if name in SENDS_UNLOCKED else 2
    [settled] = readings(row, [PACKET] * enough)
    assert "stored" not in settled.flags


@pytest.mark.parametrize("name", HEALTH_O_METER)
def test_a_packet_alone_is_never_taken_for_a_weighing(name: str) -> None:
    told = readings(load_model(name), [PACKET])
    assert all("stored" in sample.flags for sample in told)
    assert len(told) == (0 if name in SENDS_UNLOCKED else 1)


@pytest.mark.parametrize("name", sorted(SENDS_UNLOCKED))
def test_two_equal_packets_of_a_scale_that_does_not_wait_are_none(name: str) -> None:
    assert readings(load_model(name), [PACKET] * 2) == []


def test_height_that_may_be_garbage_is_left_out() -> None:
    kinds = {
        name: {m.kind for sample in readings(load_model(name), [PACKET] * 6) for m in sample.measurements}
        for name in ("health-o-meter-600kl", "health-o-meter-600kl-3.2.02")
    }
    assert kinds["health-o-meter-600kl"] == {"body_weight", "body_height", "bmi"}
    assert kinds["health-o-meter-600kl-3.2.02"] == {"body_weight"}


@pytest.mark.parametrize(
    ("name", "frame"),
    [("and-standard-scale", STABLE_KG), ("and-ek-l", STABLE_KG), ("and-hv-wp-format2", FORMAT_2)],
)
def test_one_stable_frame_of_an_and_scale_is_a_reading(name: str, frame: bytes) -> None:
    row = load_model(name)
    assert (row.line.data_bits, row.line.parity) == (7, "even")
    assert len(readings(row, [frame])) == 1
    assert len(readings(row, [frame, frame])) == 1


def test_mt_sics_asks_for_the_stable_weight() -> None:
    row = load_model("mt-sics-scale")
    assert registry.driver(row).tick(0.0).write == b"S\r\n"
    assert row.settling.silence_s > row.polling.answer_s, "a late answer must not look like an empty scale"


def test_ranges_know_every_kind_and_the_unusual_lies_within_the_absolute() -> None:
    ranges = load_ranges()
    assert set(ranges.kinds) == set(KINDS)
    for kind, bands in ranges.kinds.items():
        assert bands.absolute.low <= bands.unusual.low < bands.unusual.high <= bands.absolute.high, kind
    assert ranges.cross.pulse_pressure_unusual.low > 0
    assert 0 < ranges.cross.mean_fraction_unusual.low < ranges.cross.mean_fraction_unusual.high < 1


def test_the_example_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    example = (data_folder() / "gateway.example.yaml").read_text(encoding="utf-8")
    for named in re.findall(r"^ +(?:password|ca)_file: (\S+)", example, flags=re.MULTILINE):
        (tmp_path / named).write_text("secret", encoding="utf-8")
    (tmp_path / "gateway.yaml").write_text(example, encoding="utf-8")
    loaded = load(tmp_path / "gateway.yaml")
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.settings is not None
    assert [device.id for device in loaded.settings.devices] == ["scale", "bench-scale", "cuff"]


@pytest.mark.parametrize(
    ("written", "instead", "place"),
    [
        ("  body_weight:", "  body_weigt:", "kinds.body_weigt"),
        ("  body_weight:", "  body_weigt:", "kinds"),
    ],
)
def test_a_misspelt_kind_is_no_limit_and_is_told(tmp_path: Path, written: str, instead: str, place: str) -> None:
    file = tmp_path / "ranges.yaml"
    text = (data_folder() / "ranges.yaml").read_text()
    assert written in text
    file.write_text(text.replace(written, instead))
    with pytest.raises(CatalogueError) as caught:
        load_ranges(file)
    assert place in {problem.path for problem in caught.value.problems}


@pytest.mark.parametrize("wrong", ["{low: 650, high: 0.2}", "{low: 0.1, high: 9000}"])
def test_a_band_that_is_none_or_lies_outside_is_told(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "ranges.yaml"
    lines = (data_folder() / "ranges.yaml").read_text().splitlines()
    kind = next(n for n, line in enumerate(lines) if line.startswith("  body_weight:"))
    at = next(n for n, line in enumerate(lines) if n > kind and line.startswith("    unusual:"))
    lines[at] = f"    unusual: {wrong}"
    file.write_text("\n".join(lines))
    with pytest.raises(CatalogueError) as caught:
        load_ranges(file)
    assert {problem.path for problem in caught.value.problems} == {"kinds.body_weight.unusual"}


def test_a_break_that_no_codec_tells_is_told(tmp_path: Path) -> None:
    row = (data_folder() / "devices" / "and-ek-l.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(row.replace("breaks: [zero,", "breaks: [zeroo,"))
    with pytest.raises(CatalogueError) as caught:
        load_model("mine", tmp_path)
    assert [problem.path for problem in caught.value.problems] == ["settling.breaks[0]"]
