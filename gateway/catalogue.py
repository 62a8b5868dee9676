"""The catalogue of device models and the limits of plausibility: data files, read one at a time when asked for.

Installed, they stand under sys.prefix/share/vitals-gateway/config; in a checkout, in config/ beside the package.
A site's own folder of models (`models_dir` in the YAML) wins over the packaged row of the same name.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from drivers import registry
from drivers.models import DeviceModel
from gateway.files import Files
from gateway.problems import Problem, Report, not_allowed, shown_path, unknown_key, unknown_model
from gateway.ranges import Ranges
from gateway.vocabulary import KINDS

_Row = TypeVar("_Row", DeviceModel, Ranges)


class CatalogueError(Exception):
    """A data file is absent or wrong: `problems` has every place, `str()` one line for each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def data_folder() -> Path:
    """Answer the folder of the packaged data files."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "config"
    return Path(sys.prefix) / "share" / "vitals-gateway" / "config"


def model_names(extra: Path | None = None, files: Files | None = None) -> list[str]:
    """Answer the names of all models, sorted: packaged, and those of the site's folder `extra`, read by `files`."""
    return sorted({file.stem for file, _ in _rows(extra, files)})


def model_file(name: str, extra: Path | None = None, files: Files | None = None) -> tuple[Path, Files | None] | None:
    """Answer where the row of a model stands, the site's before the packaged one, and by what it is read."""
    # compared, never joined: a name cannot lead out of the folder
    return next(((file, by) for file, by in _rows(extra, files) if file.stem == name), None)


def load_model(name: str, extra: Path | None = None, files: Files | None = None) -> DeviceModel:
    """Read one model's row, the site's before the packaged one; raises CatalogueError."""
    found = model_file(name, extra, files)
    if found is not None:
        return _load(*found, DeviceModel)
    names = model_names(extra, files)
    where = extra or data_folder() / "devices"
    raise CatalogueError((Problem(shown_path(where), 1, 1, "(file)", unknown_model(name, names)),))


def load_ranges(file: Path | None = None, files: Files | None = None) -> Ranges:
    """Read the limits of plausibility, the packaged ones where `file` is None; raises CatalogueError."""
    return _load(data_folder() / "ranges.yaml", None, Ranges) if file is None else _load(file, files, Ranges)


def _rows(extra: Path | None, files: Files | None) -> list[tuple[Path, Files | None]]:
    packaged: list[tuple[Path, Files | None]] = [(file, None) for file in Files().yaml_files(data_folder() / "devices")]
    own = [] if extra is None else (files or Files()).yaml_files(extra)
    return [*((file, files) for file in own), *packaged]


def _load(file: Path, files: Files | None, shape: type[_Row]) -> _Row:
    report = Report(file, files)
    report.read()
    row = report.validated(shape)
    if isinstance(row, DeviceModel):
        drivers = registry.serial_names() if row.link == "serial" else registry.ble_names() + registry.vendor_names()
        if row.driver not in drivers:
            report.error(("driver",), not_allowed(row.driver, drivers))
        elif row.link == "ble":
            _check_records(report, row)
    if isinstance(row, Ranges):
        _check_ranges(report, row)
    if row is None or report.problems:
        raise CatalogueError(tuple(report.problems))
    return row


def _check_records(report: Report, row: DeviceModel) -> None:
    """What a session takes is one thing: measurements as they are made, or records that were kept."""
    if registry.is_only_heard(row.driver) != (row.memory == "broadcast"):
        report.error(("memory",), "is broadcast for a driver that reads advertisements alone, and for no other")
    known, streams = registry.records(row.driver), set(registry.streams(row.driver))
    taken = row.session.records or known
    for characteristic in taken:
        if characteristic not in known:
            report.error(("session", "records"), not_allowed(characteristic, known))
    if not streams.intersection(taken):
        return
    if streams.issuperset(taken):
        if row.memory != "none":
            report.error(("memory",), "must be none: this row takes a stream, which says what is measured now")
    else:
        message = f"name a stream ({', '.join(sorted(streams))}) or records: with both, one finger is two readings"
        report.error(("session", "records"), message)


def _check_ranges(report: Report, ranges: Ranges) -> None:
    """A kind that is missing or misspelt would be a limit that is not there."""
    for kind in ranges.kinds:
        if kind not in KINDS:
            report.error(("kinds", kind), unknown_key(kind, KINDS), of_key=True)
    for kind in KINDS:
        if kind not in ranges.kinds:
            report.error(
                ("kinds",), f"the limits of {kind} are missing: each kind has its own, as in the packaged file"
            )
    for kind, limits in ranges.kinds.items():
        for name, band in (("absolute", limits.absolute), ("unusual", limits.unusual)):
            if band.low >= band.high:
                report.error(("kinds", kind, name), "low must be less than high")
        if limits.unusual.low < limits.absolute.low or limits.unusual.high > limits.absolute.high:
            report.error(("kinds", kind, "unusual"), "must lie within absolute")
