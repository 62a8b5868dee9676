"""One simulated device on a pty, until stopped: what `vitals-gateway simulate` does."""

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
) -> None:
    """Print the path of the port as the first line, then run until cancelled.

    `settings` are KIND=VALUE: with a vital of the device a person is at it from the start and stays, unless `story`
    says otherwise. Without either it is a clinic's ordinary day. `faults` come again and again.
    ValueError for bad usage, in words for who typed it; OSError if the story or the port cannot be had.
    """
    device = catalogue.make(model, seed)
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


def _text(story: Path) -> str:
    try:
        return story.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{story}: a story is plain text in UTF-8") from None
