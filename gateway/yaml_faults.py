"""What the YAML parser's complaints mean, in words for people who indent by hand. Pure."""

from __future__ import annotations

Place = tuple[int, int]
"""Line and column, from 0."""
Quote = tuple[Place, Place]
"""Where a quoted text begins and ends."""


def syntax(
    problem: str, context: str, at: Place, began: Place | None, quote: Quote | None, text: str
) -> tuple[Place, str]:
    """Answer where a fault is best looked for, and what to do there.

    `at`: where the parser stopped; `began`: where what it was reading began; `quote`: the last quoted text that goes
    on over several lines.
    """
    if "end of stream" in problem and "quoted" in context:
        return began or at, "a quote opens here and is never closed"
    if quote is not None and quote[1][0] == at[0]:
        return quote[0], f"a quote opens here and is closed in line {at[0] + 1} only: close it in its own line"
    if problem == "could not find expected ':'":
        return began or at, "a key stands here without its colon and a space after it (key: value)"
    if "while parsing a flow" in context:
        return began or at, "a bracket opens here and is never closed, or a comma is missing behind it"
    lines = text.splitlines()
    line = lines[at[0]] if at[0] < len(lines) else ""
    before, rest = line[: at[1]], line[at[1] :]
    if rest.startswith("\t") or (not before.strip() and "\t" in before):
        return at, "a tab stands here; YAML indents with spaces only"
    if "mapping values" in problem:
        return at, "a colon where none can be; put the value in quotes, or look at the line's indentation"
    if rest[:1] in {"@", "`", "%"} and "cannot start" in problem:
        return at, f"a value cannot begin with {rest[0]}; put it in quotes"
    if "unknown escape" in problem:
        return at, "a backslash in double quotes begins a sign of its own; put the text in single quotes"
    if "'-' indicator" in problem:
        return at, 'this line is neither in the entry above nor a new one: indent it more, or begin it with "- "'
    return at, "look at the indentation, quotes and brackets here and in the lines above"
