"""One simulated device until stopped: what `vitals-gateway simulate` does. On a pty, or on a simulated air."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from simulators import catalogue
from simulators.faults import Faults, fault_named
from simulators.ports.pty import PtyPort, run_device
from simulators.serial.device import Bedside
from simulators.story import Act, clinic, parse, setting


async def serve(
    model: str,
    settings: Sequence[str] = (),
    story: Path | None = None,
    faults: Sequence[str] = (),
    link_path: Path | None = None,
    seed: int = 0,
    *,
    dongle: str | None = None,
    address: str | None = None,
    every_s: float | None = None,
) -> None:
    """Print how a gateway gets to it, then run until cancelled. `dongle`, `address`, `every_s`: see serve_ble.

    A serial device's first line is the path of its port. `settings` are KIND=VALUE: with a vital of the device a person
    is at it from the start and stays, unless `story` says otherwise. Without either it is a clinic's ordinary day.
    `faults` come again and again.
    ValueError for bad usage, in words for who typed it; OSError if the story, the port or the dongle cannot be had;
    RuntimeError if the simulated air cannot be had, with what to install.
    """
    if model in catalogue.BLE_MODELS:
        if story is not None or link_path is not None:
            raise ValueError(f"{model} has a radio: no story, no port (--set, --fault, --every)")
        await _serve_ble(model, settings, faults, dongle, address, every_s, seed)
        return
    device = catalogue.make(model, seed)
    for option, value in (("--dongle", dongle), ("--address", address), ("--every", every_s)):
        if value is not None:
            raise ValueError(f"{model} has a serial port: {option} is for a device with a radio")
    parsed = [setting(text) for text in settings]
    # The unit last: a weight brings its own, and who asks for a unit means it.
    for kind, value, unit in sorted(parsed, key=lambda item: item[0] == "unit"):
        device.set_value(kind, value, unit)
    acts: Iterable[Act]
    if story is not None:
        acts = parse(_text(story), str(story), catalogue.make(model, seed))
    elif isinstance(device, Bedside) and any(kind in device.kinds for kind, _, _ in parsed):
        acts = (Act(0.0, "attach"),)
    elif any(kind == "body_weight" for kind, _, _ in parsed):
        acts = ()
    else:
        acts = clinic(seed, device)
    wire = Faults(seed, standing=[fault_named(name) for name in faults])
    port = PtyPort(link_path)
    try:
        sys.stdout.write(f"{port.path}\n")
        sys.stdout.flush()
        await run_device(device, port, wire, acts)
    finally:
        port.close()


async def _serve_ble(
    model: str,
    settings: Sequence[str],
    faults: Sequence[str],
    dongle: str | None,
    address: str | None,
    every_s: float | None,
    seed: int,
) -> None:
    try:
        from simulators.ble.serve import EVERY_S, serve_ble
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "bumble":
            raise
        raise RuntimeError(f"{model} needs bumble: pip install 'vitals-gateway[demo]'") from missing
    wait_s = EVERY_S if every_s is None else every_s
    await serve_ble(model, settings, faults, dongle=dongle, address=address, every_s=wait_s, seed=seed)


def _text(story: Path) -> str:
    try:
        return story.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{story}: a story is plain text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{story}: {error.strerror}") from None
