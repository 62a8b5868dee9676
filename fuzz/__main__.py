"""`python -m fuzz [--seconds N] [DRIVER ...]`: every serial codec, one after another, a share of the time each."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from functools import partial
from pathlib import Path

from drivers import registry
from drivers.models import Quirks
from fuzz.streams import broken_law, stream

VECTORS = Path(__file__).parents[1] / "tests" / "vectors"


def frames_of(driver: str) -> list[bytes]:
    """Answer the frames of one driver's vectors that a device sends."""
    rows = [json.loads(line) for line in (VECTORS / f"{driver}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [bytes.fromhex(row["bytes_hex"]) for row in rows if row["direction"] == "device->host"]


def main() -> int:
    """Run; answer 1 when a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("drivers", nargs="*", metavar="DRIVER", choices=[*registry.serial_names(), []])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    drivers = given.drivers or registry.serial_names()
    status = 0
    for driver in drivers:
        frames, make = frames_of(driver), partial(registry.codec, driver, Quirks())
        ends, seed = time.monotonic() + given.seconds / len(drivers), given.seed
        while time.monotonic() < ends:
            chance = random.Random(seed)
            data = stream(chance, frames)
            broken = broken_law(make, data, chance)
            if broken:
                sys.stdout.write(f"{driver}: {broken}: seed {seed}: {data.hex()}\n")
                status = 1
                break
            seed += 1
        sys.stdout.write(f"{driver}: {seed - given.seed} streams\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
