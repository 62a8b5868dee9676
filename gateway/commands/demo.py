"""`vitals-gateway demo`: the main job with nothing configured."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gateway.commands import FAILED, OK
from gateway.commands.arguments import seconds


def add(commands: Any) -> None:
    """Add `demo` to the command line."""
    demo = commands.add_parser(
        "demo",
        help="the main job, with nothing configured",
        description="A broker of its own, simulated devices, the gateway, and a stand-in for the chart that prints what"
        " arrives. Nothing is configured, and nothing of it stays.",
    )
    demo.add_argument("--seconds", type=seconds, default=60.0, metavar="N", help="how long (%(default).0f)")
    demo.add_argument("--json", action="store_true", help="the payloads, one a line")
    demo.set_defaults(act=_demo)


def _demo(given: argparse.Namespace) -> int:
    import asyncio

    from gateway.demo import DemoFailed, demo

    try:
        asyncio.run(demo(given.seconds, json=given.json))
    except DemoFailed as error:
        print(f"vitals-gateway demo: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return OK
    return OK
