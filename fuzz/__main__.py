"""`python -m fuzz [--seconds N] [DRIVER ...]`: every codec, one driver after another, a share of the time each."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drivers import registry
from drivers.models import Quirks
from fuzz import streams, values

VECTORS = Path(__file__).parents[1] / "tests" / "vectors"


def frames_of(driver: str) -> list[bytes]:
    """Answer the frames of one driver's vectors that a device sends."""
    of_serial = VECTORS / f"{driver}.jsonl"
    file = of_serial if of_serial.exists() else VECTORS / "ble" / f"{driver}.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row.get("direction", "device->host") == "device->host"]
    return [frame for row in rows if (frame := bytes.fromhex(row.get("bytes_hex") or row["hex"]))]


def broken_by(driver: str) -> Callable[[random.Random], tuple[str | None, bytes]]:
    """Answer what tries one driver once: which law was broken (None for none), and the bytes that it was given."""
    frames = frames_of(driver)
    if driver not in registry.ble_names():
        make = partial(registry.codec, driver, Quirks())

        def try_stream(chance: random.Random) -> tuple[str | None, bytes]:
            data = streams.stream(chance, frames)
            return streams.broken_law(make, data, chance), data

        return try_stream
    codecs = values.codecs_of(driver)

    def try_value(chance: random.Random) -> tuple[str | None, bytes]:
        data = values.value(chance, frames)
        for name, codec in codecs.items():
            if (broken := values.broken_law(codec, data)) is not None:
                return f"{name}: {broken}", data
        return None, data

    return try_value


def main() -> int:
    """Run; answer 1 when a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("drivers", nargs="*", metavar="DRIVER", choices=[*registry.names(), []])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    drivers = given.drivers or registry.names()
    status, tried = 0, 0
    for driver in drivers:
        try_once = broken_by(driver)
        ends, seed = time.monotonic() + given.seconds / len(drivers), given.seed
        while time.monotonic() < ends:
            broken, data = try_once(random.Random(seed))
            if broken:
                sys.stdout.write(f"{driver}: {broken}: seed {seed}: {data.hex()}\n")
                status = 1
                break
            seed += 1
        tried += seed - given.seed
        sys.stdout.write(f"{driver}: {seed - given.seed} tried\n")
    sys.stdout.write(f"{tried} in all, {given.seconds:.0f} s, seed {given.seed}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
