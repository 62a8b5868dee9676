"""The Debian package's recipe, without building it. It is built and installed for real by `make deb-test`."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "debian"
WHEEL = "a" * 64


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sbom() -> ModuleType:
    return loaded(DEBIAN / "sbom.py")


def test_the_doc_says_how_many_commands_it_takes() -> None:
    """They are followed, each of them, by `make deb-test`."""
    by_the_doc = loaded(DEBIAN / "tests/test_by_the_doc.py")
    assert f"these are {len(by_the_doc.commands())} commands" in by_the_doc.PAGE


def test_the_package_has_the_programs_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    head = re.match(r"vitals-gateway \(([^-]+)-(\d+)\) ", (DEBIAN / "changelog").read_text())
    assert head is not None
    assert head[1] == project["version"]


@pytest.mark.parametrize("name", ["environment", "vitals-gateway.postinst", "vitals-gateway.postrm"])
def test_the_shell_understands_each_script(name: str) -> None:
    assert subprocess.run(["sh", "-n", DEBIAN / name], capture_output=True, check=True).stderr == b""


def test_the_package_has_the_units_own_files() -> None:
    links = {path.name: path.resolve() for path in DEBIAN.iterdir() if path.is_symlink()}
    others = {"README.md", "vitals-gateway.modules-load.conf"}  # debhelper has no helper for the latter
    assert set(links.values()) == {path for path in (ROOT / "systemd").iterdir() if path.name not in others}
    rules = (DEBIAN / "rules").read_text()
    assert "systemd/vitals-gateway.modules-load.conf" in rules
    (started,) = re.findall(
        r"^ExecStart=(\S+)/bin/vitals-gateway run", links["vitals-gateway.service"].read_text(), re.MULTILINE
    )
    assert f"$(STAGE) {started} " in rules


def test_the_installation_says_how_to_begin() -> None:
    said = (DEBIAN / "vitals-gateway.postinst").read_text()
    unit = (ROOT / "systemd/vitals-gateway.service").read_text()
    (wanted,) = re.findall(r"^ConditionPathExists=(\S+)$", unit, re.MULTILINE)
    example = "share/vitals-gateway/config/gateway.example.yaml"
    assert f"cp /opt/vitals-gateway/{example} {wanted}" in said
    assert (ROOT / "config" / Path(example).name).exists()


def test_a_purge_leaves_nothing_of_a_patient() -> None:
    said = (DEBIAN / "vitals-gateway.postrm").read_text()
    assert re.search(r"= purge \]; then\n(?:    #.*\n)*    rm -rf /var/lib/vitals-gateway /etc/vitals-gateway\n", said)


def test_each_library_of_the_product_is_pinned(sbom: ModuleType) -> None:
    pins = sbom.pinned((ROOT / ".ci/requirements.txt").read_text())
    names = {name for name, _ in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[^\w-]", one)[0].lower() for one in project["dependencies"]} <= names
    assert all(hashes for hashes in pins.values())


def test_a_file_that_is_not_the_pinned_one_stops_the_build(sbom: ModuleType) -> None:
    pins = sbom.pinned(
        f"one-lib==1.0 ; python_version > '3' \\\n    --hash=sha256:{WHEEL} \\\n    --hash=sha256:{'b' * 64}\n"
    )
    assert pins == {("one-lib", "1.0"): {WHEEL, "b" * 64}}
    assert sbom.unpinned({("one-lib", "1.0"): WHEEL, ("vitals-gateway", "9"): "c" * 64}, pins) == []
    assert sbom.unpinned({("one-lib", "1.0"): "c" * 64}, pins) == ["one-lib 1.0"]
    assert sbom.unpinned({("one-lib", "1.1"): WHEEL}, pins) == ["one-lib 1.1"]
    assert sbom.unpinned({("other", "1.0"): WHEEL}, pins) == ["other 1.0"]


def test_the_check_is_a_status_for_the_build(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    item = (
        '{"metadata": {"name": "bleak", "version": "3.1.0"}, "download_info": {"archive_info": {"hash": "sha256=%s"}}}'
    )
    report.write_text('{"install": [' + item % WHEEL + "]}")
    said = subprocess.run(
        [sys.executable, DEBIAN / "sbom.py", "check", report], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (
        1,
        "sbom: bleak 3.1.0 is not pinned in .ci/requirements.txt with this hash\n",
    )


def test_the_bill_has_each_library_with_version_license_hash_and_what_it_needs(sbom: ModuleType) -> None:
    installed = [distribution(name) for name in ("vitals-gateway", "PyYAML", "bleak", "dbus-fast", "annotated-types")]
    taken = {(sbom._name(one.metadata["Name"]), one.version): WHEEL for one in installed}
    bill = sbom.bill(installed, taken, datetime(2026, 1, 2, tzinfo=UTC))
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["metadata"]["timestamp"] == "2026-01-02T00:00:00Z"
    assert bill["metadata"]["component"]["name"] == "vitals-gateway"
    assert [one["name"] for one in bill["components"]] == ["annotated-types", "bleak", "dbus-fast", "pyyaml"]
    for one in bill["components"]:
        assert one["purl"] == one["bom-ref"] == f"pkg:pypi/{one['name']}@{one['version']}"
        assert one["hashes"] == [{"alg": "SHA-256", "content": WHEEL}]
        assert one["licenses"]
    needs = {one["ref"].split("/")[1].split("@")[0]: one["dependsOn"] for one in bill["dependencies"]}
    assert needs["bleak"] == [f"pkg:pypi/dbus-fast@{distribution('dbus-fast').version}"]
    assert len(needs["vitals-gateway"]) == 3  # annotated-types is pydantic's
    assert needs["pyyaml"] == []
