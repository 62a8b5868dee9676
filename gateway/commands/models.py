"""`vitals-gateway models`: the device catalogue."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gateway.commands import BAD_CONFIG, OK
from gateway.commands.arguments import folder


def add(commands: Any) -> None:
    """Add `models` to the command line."""
    models = commands.add_parser(
        "models",
        help="the device catalogue",
        description="The device catalogue: what `model:` in the YAML may be, and on what each row rests.",
    )
    form = models.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true", help="the page docs/devices.md")
    models.add_argument("--models-dir", type=folder, metavar="DIR", help="a site's own models")
    models.set_defaults(act=_models)


def _models(given: argparse.Namespace) -> int:
    from gateway import device_page, inspect
    from gateway.catalogue import CatalogueError

    own = given.models_dir
    try:
        for line in device_page.lines(own) if given.markdown else inspect.model_lines(own, json=given.json):
            print(line)
    except CatalogueError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return BAD_CONFIG
    return OK
