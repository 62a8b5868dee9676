"""docs/devices.md, made from the rows: `vitals-gateway models --markdown > docs/devices.md`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from drivers.models import DeviceModel, LineSettings
from gateway.catalogue import load_model, model_names

_HEAD = """\
# Devices

Made by `vitals-gateway models --markdown` from the rows in [config/devices](../config/devices/): not changed by hand.

**Nothing here was tried on hardware.** A row says on what it rests: `manual` the maker's words, `capture` bytes that
somebody recorded and published, `independent-test` other people's code for the device, `derived` a conclusion from
these. What a row could not verify stands in its notes. Before a device is relied on: compare its display and the
reading, with known loads or on volunteers ([config/README.md](../config/README.md))."""

_KINDS = {
    "scale": "Scales",
    "blood_pressure": "Blood pressure, and monitors that measure more",
    "thermometer": "Thermometers",
    "oximeter": "Oximeters",
    "heart_rate": "Heart rate",
}

_NOT_CLAIMED = """\
## Not claimed

No driver exists for these: what was found does not tell what their bytes mean, and nothing is guessed.

| device | what is missing |
|---|---|
| Welch Allyn Spot LXi, Spot 4400, Connex Spot, ProBP 3400, CVSM (WACP) | line settings, any capture |
| seca, all | the tables of the 460's frames, its CRC's start value, any example |
| Mindray/Datascope DIAP; CAS 740, 750 | the content of manuals that exist |
| Datascope Accutorr 3 | its one printed sample contradicts the printed order of fields |
| Criticare nGenuity, Philips SureSigns, Edan, Microlife WatchBP Office, Midmark IQvitals | everything |
| Omron HBP-1300, HBP-1320, HEM-907XL, HEM-705, HEM-790 | a serial protocol |
| SunTech CT40, 247 | everything |
| Exergen TAT-5000S, Braun PRO 4000 and 6000, Genius 3, Filac | everything |
| Charder, Marsden, Befour, Scale-Tronix, SR Instruments, A&D UC-321PL, SONARIS, Detecto 6400 beam heads | everything |
| Nonin data formats 7, 8 and 13; Kern KCP | the content of manuals that exist |
| G-Tech GL-310, Visomat | sold elsewhere; printer text, consumer USB |"""


def lines(models_dir: Path | None = None) -> Iterator[str]:
    """Answer the page. Raises CatalogueError."""
    rows = [(name, load_model(name, models_dir)) for name in model_names(models_dir)]
    yield from _HEAD.splitlines()
    for kind, title in _KINDS.items():
        of_kind = [(name, row) for name, row in rows if row.kind == kind]
        if not of_kind:
            continue
        yield ""
        yield f"## {title}"
        yield ""
        yield "| device | `model:` | driver | line | evidence |"
        yield "|---|---|---|---|---|"
        for name, row in of_kind:
            cells = (f"{row.maker} {row.model}", f"`{name}`", f"`{row.driver}`", _line(row), ", ".join(row.evidence))
            yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
    yield ""
    yield from _NOT_CLAIMED.splitlines()


def _line(row: DeviceModel) -> str:
    if row.link == "ble":
        return "Bluetooth"
    return _short(row.line) + (", unit pinned by the site" if row.unit == "pinned" else "")


def _short(line: LineSettings) -> str:
    return f"{line.baud} {line.data_bits}{line.parity[0].upper()}{line.stop_bits}"
