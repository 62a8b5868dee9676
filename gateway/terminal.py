"""What is shown on a terminal."""

from __future__ import annotations


def printable(line: str) -> str:
    """Answer the line without what could steer a terminal: devices and other rooms are not to be trusted with one."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
