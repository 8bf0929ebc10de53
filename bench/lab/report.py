"""The result of a benchmark: one JSON, one table, one exit status."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Measure = dict[str, float]  # seconds, per_s (rows), rss_mb


def measure(rows: int, answers: Sequence[dict[str, Any]]) -> Measure:
    """Return the median of the times and the highest of the memory."""
    seconds = median(each["seconds"] for each in answers)
    memory = max(each["rss_mb"] for each in answers)
    return {
        "seconds": round(seconds, 3),
        "per_s": round(rows / seconds),
        "rss_mb": round(memory, 1),
    }


def ratio(ours: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]]) -> float:
    """Return how many times as fast we are: the median over the rounds. Same rows in both."""
    pairs = zip(ours, peers, strict=True)
    return round(median(peer["seconds"] / own["seconds"] for own, peer in pairs), 2)


@dataclass
class Report:
    """Collects what was measured. ``cases`` holds ours where there is more than one case."""

    bench: str
    rows: int
    rounds: int
    ours: Measure = field(default_factory=dict)
    cases: dict[str, Measure] = field(default_factory=dict)
    peers: dict[str, Measure] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    goals: dict[str, float] = field(default_factory=dict)
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def check(
        self, name: str, value: float, goal: float, *, at_least: bool = False
    ) -> None:
        """Hold a number against its goal: at most, unless ``at_least``."""
        met = value >= goal if at_least else value <= goal
        self.checks[name] = {"value": round(value, 3), "goal": goal, "met": met}

    @property
    def met(self) -> bool:
        ratios = all(self.ratios.get(n, goal) >= goal for n, goal in self.goals.items())
        return ratios and all(each["met"] for each in self.checks.values())

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "met": self.met}

    def show(self) -> None:
        print(f"\n{self.bench}: {self.rows:,} rows, {self.rounds} round(s)")
        for note in self.notes:
            print(f"  {note}")
        print(f"\n  {'':34}{'s':>9}{'rows/s':>11}{'MB':>8}")
        ours = {f"simpul {name}": each for name, each in self.cases.items()}
        for name, each in ({**ours} or {"simpul": self.ours}).items():
            self._line(name, each)
        for name, each in self.peers.items():
            self._line(name, each)
        print()
        for name, value in self.ratios.items():
            goal = self.goals.get(name)
            told = "" if goal is None else f"  (goal {goal}: {_word(value >= goal)})"
            print(f"  {name:34}{value:8.2f} x{told}")
        for name, each in self.checks.items():
            told = f"  (goal {each['goal']}: {_word(each['met'])})"
            print(f"  {name:34}{each['value']:>8}{told}")
        print(f"\n  {_word(self.met).upper()}")

    @staticmethod
    def _line(name: str, each: Measure) -> None:
        print(
            f"  {name:34}{each['seconds']:9.2f}{each['per_s']:11,.0f}{each['rss_mb']:8.0f}"
        )

    def finish(self, path: str) -> int:
        """Print the table, write the JSON, return the exit status."""
        self.show()
        if path:
            Path(path).write_text(json.dumps(self.as_dict(), indent=2) + "\n")
        return 0 if self.met else 1


def _word(met: bool) -> str:  # noqa: FBT001 - it is what is turned into a word
    return "met" if met else "missed"
