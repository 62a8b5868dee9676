"""Docs name only what is there: each test that hazards and reliability name exists, each link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import cli, config, device_page

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in ROOT.glob("[a-z]*") for page in folder.rglob("*.md"))])


@pytest.mark.parametrize("page", ["hazards.md", "reliability.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    defined = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named
    assert named <= defined, named - defined


@pytest.mark.parametrize("page", ["hazards.md", "reliability.md"])
def test_every_file_of_tests_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    for name in re.findall(r"`((?:[a-z]+/)?test_[a-z0-9_]+\.py)`", text):
        assert (ROOT / "tests" / name).exists() or (ROOT / "tests" / "gateway" / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_of_devices_is_current() -> None:
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    assert page.splitlines() == list(device_page.lines()), "vitals-gateway models --markdown > docs/devices.md"


def test_the_page_says_that_nothing_was_tried_and_what_is_not_claimed() -> None:
    page = " ".join(device_page.lines())
    assert "Nothing here was tried on hardware" in page
    for device in ("Welch Allyn", "seca", "Accutorr 3", "HBP-1300", "CT40", "Exergen", "Charder", "Kern KCP"):
        assert device in page.partition("## Not claimed")[2]


def test_the_example_of_a_room_and_its_site_is_a_good_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    room, site = ROOT / "config" / "room.example.yaml", ROOT / "config" / "site.example.yaml"
    loaded = config.load(room)
    assert loaded.settings is not None, loaded.problems
    assert {problem.file for problem in loaded.problems} == {str(site)}
    assert {problem.path for problem in loaded.problems} <= {"broker.password_file", "broker.ca_file"}
    assert (loaded.settings.site, loaded.settings.room) == ("northside", "exam-3")
    assert (loaded.settings.broker.username, loaded.settings.run_others) == ("exam-3", False)
    assert cli.main(["check", str(room), "--explain", "outbox.keep_days"]) == 0
    assert capsys.readouterr().out.splitlines() == ["outbox.keep_days: 7", f"  from {site}:15:14"]


def test_the_rooms_file_in_the_page_for_it_says_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "it.md").read_text(encoding="utf-8").partition("### One file for the site")[2]
    text = page.partition("```yaml\n")[2].partition("```")[0]
    told = page.partition("--explain broker.username\nbroker.username")[2].partition("```")[0]
    (tmp_path / "gateway.yaml").write_text(text)
    (tmp_path / "site.yaml").write_text(
        "site: northside\ntimezone: UTC\nbroker:\n  url: mqtts://x.example\n  username: nobody\noutbox: {path: o.db}\n"
    )
    assert cli.main(["check", str(tmp_path / "gateway.yaml"), "--explain", "broker.username"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == "broker.username" + told.replace("/etc/vitals-gateway", str(tmp_path))


def test_the_page_for_mas_fits_a_sheet_and_speaks_their_words() -> None:
    """520 words in this form are one page of Letter or A4 at 10.5 points, tables and all."""
    page = (ROOT / "docs" / "mas.md").read_text(encoding="utf-8")
    assert len(page.split()) <= 520
    for word in ("MQTT", "broker", "topic", "JSON", "YAML", "gateway", "Bluetooth", "disposition", "quarantine", "log"):
        assert not re.search(rf"\b{word}\b", page, re.IGNORECASE), word
    for state in ("questionable", "held", "error", "corrected", "test", "demo"):
        assert f"**{state}**" in page


def test_the_readme_names_every_page_of_docs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name
