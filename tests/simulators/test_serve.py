from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from simulators.serve import serve

PATIENCE_S = 20.0


async def first_packet(capsys: pytest.CaptureFixture[str], end: bytes, *args: object, **more: object) -> bytes:
    """Serve, open the path that was printed, and answer what comes up to `end`."""
    running = asyncio.create_task(serve(*args, **more))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(PATIENCE_S):
            printed = ""
            while "\n" not in printed:
                assert not running.done(), running
                await asyncio.sleep(0.005)
                printed += capsys.readouterr().out
            fd = os.open(printed.splitlines()[0], os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            seen = b""
            while end not in seen:
                try:
                    seen += os.read(fd, 4096)
                except BlockingIOError:
                    await asyncio.sleep(0.005)
            os.close(fd)
            return seen
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_set_weight_stands_there_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    said = await first_packet(capsys, b"\x1bE", "health-o-meter-600kl", ["body_weight=184.5[lb_av]"])
    assert said == b"\x1bR\x1bISIM-000001\x1bW184.5\x1bH0.0\x1bB0.0\x1bNc\x1bE"


async def test_a_set_unit_wins_over_the_weights_own(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["unit=lb", "id=0000000000", "body_weight=83.7"]
    said = await first_packet(capsys, b"\x1bE", "health-o-meter-600kl", settings)
    assert said == b"\x1bR\x1bI0000000000\x1bW184.5\x1bH0.0\x1bB0.0\x1bNc\x1bE"


async def test_the_link_is_printed_and_taken_away(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    link = tmp_path / "scale"
    said = await first_packet(capsys, b"\n", "and-standard-scale", ["body_weight=50"], link_path=link)
    assert said.endswith(b" kg\r\n")
    assert not link.is_symlink()


async def test_a_story_is_played(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    story = tmp_path / "story.txt"
    story.write_text("0.0 step_on 61.2\n")
    await first_packet(capsys, b"ST,+00061.20 kg\r\n", "and-standard-scale", story=story)


async def test_without_anything_it_is_a_clinics_day(capsys: pytest.CaptureFixture[str]) -> None:
    await first_packet(capsys, b"US,", "and-standard-scale")


@pytest.mark.parametrize(
    ("model", "settings", "faults", "words"),
    [
        ("no-such-scale", [], [], "no simulator"),
        ("mt-sics-scale", ["body_weight"], [], "not KIND=VALUE"),
        ("mt-sics-scale", ["systolic=120"], [], "cannot be set"),
        ("mt-sics-scale", [], ["explode"], "unknown fault"),
    ],
)
async def test_bad_usage_is_told_before_anything_runs(
    capsys: pytest.CaptureFixture[str], model: str, settings: list[str], faults: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        await serve(model, settings, faults=faults)
    assert capsys.readouterr().out == ""


async def test_a_bad_story_is_told_with_its_line(tmp_path: Path) -> None:
    story = tmp_path / "story.txt"
    story.write_text("0.5 step_on 80\n1 dance\n")
    with pytest.raises(ValueError, match=r"story\.txt:2: unknown action"):
        await serve("mt-sics-scale", story=story)
    story.write_bytes(b"\xff\xfe0 step_off")
    with pytest.raises(ValueError, match="UTF-8"):
        await serve("mt-sics-scale", story=story)
