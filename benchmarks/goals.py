"""The goals, as ratios to what ran beside us in the same run; docs/performance.md says what was tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.contenders import NODE_RED, OURS, SQLITE
from benchmarks.tables import show

# What was measured, by name: "what | who". Medians of the runs.
Facts = dict[str, float]

BLUETOOTH = f"{OURS} with Bluetooth"


@dataclass(frozen=True)
class Goal:
    """`reached` answers the number that `met` judges; KeyError where its parts were not measured in this run."""

    what: str
    goal: str
    reached: Callable[[Mapping[str, float]], float]
    met: Callable[[float], bool]
    unit: str = "×"


def _ratio(what: str, beside: str, who: str = OURS) -> Callable[[Mapping[str, float]], float]:
    return lambda facts: facts[f"{what} | {who}"] / facts[f"{what} | {beside}"]


def _at_most(most: float) -> Callable[[float], bool]:
    return lambda reached: reached <= most


def _at_least(least: float) -> Callable[[float], bool]:
    return lambda reached: reached >= least


GOALS = (
    Goal("latency p50 : script with SQLite queue", "≤ 1.3 ×", _ratio("p50 ms", SQLITE), _at_most(1.3)),
    Goal("latency p99 : the same", "≤ 2 ×", _ratio("p99 ms", SQLITE), _at_most(2.0)),
    Goal("durable readings/s, one port : the same", "≥ 10 ×", _ratio("readings/s", SQLITE), _at_least(10.0)),
    Goal(
        "readings/s, every fsync 10 ms slower : its own on the fast disk",
        "≥ 0.5 ×",
        lambda facts: facts[f"readings/s, slow disk | {OURS}"] / facts[f"readings/s | {OURS}"],
        _at_least(0.5),
    ),
    Goal(
        "backlog drain : paho's own pipelined rate",
        "≥ 0.5 ×",
        lambda facts: facts[f"drained/s | {OURS}"] / facts["pipelined/s | paho"],
        _at_least(0.5),
    ),
    Goal(
        "broker back → backlog of 100 delivered",
        "≤ 2 s",
        lambda facts: facts[f"recovery s | {OURS}"],
        _at_most(2.0),
        "s",
    ),
    Goal("exec to first reading", "< 1.0 s", lambda facts: facts[f"first s | {OURS}"], lambda s: s < 1.0, "s"),
    Goal("exec to first reading : Node-RED", "< 1 ×", _ratio("first s", NODE_RED), lambda ratio: ratio < 1.0),
    Goal("idle PSS, serial only", "≤ 45 MB", lambda facts: facts[f"idle MiB | {OURS}"], _at_most(45 / 1.048576), "MiB"),
    Goal(
        "idle PSS, with Bluetooth",
        "≤ 70 MB",
        lambda facts: facts[f"idle MiB | {BLUETOOTH}"],
        _at_most(70 / 1.048576),
        "MiB",
    ),
    Goal("idle PSS : Node-RED", "< 0.5 ×", _ratio("idle MiB", NODE_RED), lambda ratio: ratio < 0.5),
    Goal("idle PSS with Bluetooth : Node-RED", "< 0.5 ×", _ratio("idle MiB", NODE_RED, BLUETOOTH), lambda r: r < 0.5),
    Goal("idle CPU : script with SQLite queue", "≤ 1.5 ×", _ratio("idle CPU s/h", SQLITE), _at_most(1.5)),
    Goal(
        "CPU a reading, 32 devices : 1 device",
        "≤ 1.2 ×",
        lambda facts: facts[f"CPU µs, 32 devices | {OURS}"] / facts[f"CPU µs, 1 device | {OURS}"],
        _at_most(1.2),
    ),
    Goal(
        "CPU a reading, 1 million kept rows : empty outbox",
        "≤ 1.2 ×",
        lambda facts: facts[f"CPU µs, full outbox | {OURS}"] / facts[f"CPU µs, empty outbox | {OURS}"],
        _at_most(1.2),
    ),
)


def judge(facts: Mapping[str, float]) -> None:
    """Print each goal with what was reached; what this run did not measure is left out."""
    rows = []
    for goal in GOALS:
        try:
            reached = goal.reached(facts)
        except KeyError:
            continue
        rows.append((goal.what, goal.goal, f"{reached:.2f} {goal.unit}", "met" if goal.met(reached) else "**missed**"))
    if rows:
        show("Goals", ("what", "goal", "reached", ""), rows)
