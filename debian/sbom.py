"""What pip took for the package: compared with the pinned hashes, and written down as a CycloneDX bill of materials.

    sbom.py check REPORT        each file that pip took has one of the hashes in .ci/requirements.txt
    sbom.py bill REPORT SITE    the bill of what is installed in SITE, on standard output

REPORT is pip's installation report (`pip install --report`). Runs on the Debian release's own Python, nothing else.
https://cyclonedx.org/docs/1.6/json/, https://pip.pypa.io/en/stable/reference/installation-report/
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

OURS = "vitals-gateway"
_REQUIREMENTS = Path(__file__).parents[1] / ".ci/requirements.txt"


def main(arguments: list[str]) -> int:
    """Run one of the two; answer 0, or 1 where a file is not the pinned one."""
    match arguments:
        case ["check", report]:
            strangers = unpinned(_taken(report), pinned(_REQUIREMENTS.read_text(encoding="utf-8")))
            for stranger in strangers:
                sys.stderr.write(f"sbom: {stranger} is not pinned in .ci/requirements.txt with this hash\n")
            return 1 if strangers else 0
        case ["bill", report, site]:
            made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
            json.dump(bill(list(distributions(path=[site])), _taken(report), made), sys.stdout, indent=1)
            sys.stdout.write("\n")
            return 0
    sys.stderr.write("usage: sbom.py check REPORT | bill REPORT SITE\n")
    return 64


def pinned(requirements: str) -> dict[tuple[str, str], set[str]]:
    """Answer the SHA-256 of each file by name and version, from a requirements file with hashes."""
    hashes: dict[tuple[str, str], set[str]] = {}
    for entry in re.split(r"\n(?=[A-Za-z])", requirements.replace("\\\n", " ")):
        if head := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", entry):
            hashes[_name(head[1]), head[2]] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
    return hashes


def unpinned(taken: Mapping[tuple[str, str], str], pins: Mapping[tuple[str, str], set[str]]) -> list[str]:
    """Answer what was taken and has none of its pinned hashes. The wheel that we built ourselves is ours."""
    return [
        f"{name} {version}"
        for (name, version), digest in taken.items()
        if name != OURS and digest not in pins.get((name, version), set())
    ]


def bill(installed: Iterable[Distribution], taken: Mapping[tuple[str, str], str], made: datetime) -> dict[str, Any]:
    """Answer the bill (CycloneDX 1.6): our program, and each library with its license and the hash of its wheel."""
    by_name = {
        _name(one.metadata["Name"]): one for one in sorted(installed, key=lambda one: _name(one.metadata["Name"]))
    }
    ours = by_name[OURS]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made.isoformat().replace("+00:00", "Z"),
            "component": {"type": "application", **_identity(OURS, ours.version)},
        },
        "components": [_library(name, one, taken[name, one.version]) for name, one in by_name.items() if name != OURS],
        "dependencies": [
            {
                "ref": f"pkg:pypi/{name}@{one.version}",
                "dependsOn": [f"pkg:pypi/{other}@{by_name[other].version}" for other in _needs(one, by_name)],
            }
            for name, one in by_name.items()
        ],
    }


def _identity(name: str, version: str) -> dict[str, str]:
    purl = f"pkg:pypi/{name}@{version}"
    return {"bom-ref": purl, "name": name, "version": version, "purl": purl}


def _library(name: str, one: Distribution, digest: str) -> dict[str, Any]:
    library = {"type": "library", **_identity(name, one.version), "hashes": [{"alg": "SHA-256", "content": digest}]}
    if expression := one.metadata["License-Expression"]:
        library["licenses"] = [{"expression": expression}]
    elif words := _license_words(one):
        library["licenses"] = [{"license": {"name": word}} for word in words]
    return library


def _license_words(one: Distribution) -> list[str]:
    """Answer what the classifiers say; else the first line of License, which in old wheels is the whole text."""
    classified = [
        line.rpartition(" :: ")[2]
        for line in one.metadata.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    return classified or [line for line in (one.metadata["License"] or "").splitlines()[:1] if line.strip()]


def _needs(one: Distribution, installed: Mapping[str, Distribution]) -> list[str]:
    """Answer which of the installed ones it asks for. An extra's are not asked for."""
    asked = {
        _name(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])
        for line in one.requires or []
        if "extra ==" not in line
    }
    return sorted(asked & installed.keys())


def _taken(report: str) -> dict[tuple[str, str], str]:
    items = json.loads(Path(report).read_text(encoding="utf-8"))["install"]
    return {
        (_name(item["metadata"]["name"]), item["metadata"]["version"]): item["download_info"]["archive_info"][
            "hash"
        ].removeprefix("sha256=")
        for item in items
    }


def _name(name: str) -> str:
    """Answer a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
