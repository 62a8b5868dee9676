"""`vitals-gateway decode`: what the codec makes of captured bytes; it never touches a port."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gateway.commands import NO_SAMPLE, OK, USAGE
from gateway.commands.arguments import folder


def add(commands: Any) -> None:
    """Add `decode` to the command line."""
    decode = commands.add_parser(
        "decode",
        help="what the codec makes of captured bytes",
        description="What the codec makes of captured bytes, one JSON object a line. The exit status is 0 where samples"
        " came out, 3 where none did.",
    )
    what = decode.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", help="an id of `vitals-gateway models`")
    what.add_argument("--driver", help="a protocol, by its name in docs/devices.md")
    decode.add_argument("--models-dir", type=folder, metavar="DIR", help="a site's own models")
    where = decode.add_mutually_exclusive_group()
    where.add_argument("--characteristic", metavar="UUID16")
    where.add_argument("--advertisement", metavar="UUID16")
    source = decode.add_mutually_exclusive_group(required=True)
    source.add_argument("--hex", metavar="HEX")
    source.add_argument("--file", type=Path, metavar="FILE", help="the bytes themselves")
    decode.set_defaults(act=_decode)


def _decode(given: argparse.Namespace) -> int:
    from gateway import inspect

    try:
        data = given.file.read_bytes() if given.file else bytes.fromhex(given.hex)
        events = inspect.decoded(
            data,
            model=given.model,
            driver=given.driver,
            models_dir=given.models_dir,
            characteristic=given.characteristic,
            advertisement=given.advertisement,
        )
    except inspect.UsageError as error:
        print(f"vitals-gateway decode: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"vitals-gateway decode: {given.file}: {error.strerror}", file=sys.stderr)
        return USAGE
    except ValueError:
        print("vitals-gateway decode: --hex takes pairs of hex digits, such as 53542c2b", file=sys.stderr)
        return USAGE
    for event in events:
        print(inspect.event_line(event))
    return OK if inspect.has_sample(events) else NO_SAMPLE
