"""The benchmarks still measure what the program is now; how fast is not asked here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SMALL = {
    "admin": ["--rows", "3000", "--rounds", "1", "--seconds", "0.3", "--crowd", "1"],
    "api": ["--rows", "3000", "--rounds", "1", "--seconds", "0.3"],
    "export": ["--rows", "3000", "--rounds", "1"],
    "pull": ["--rows", "3000", "--rounds", "1", "--no-large"],
    "queue": ["--rows", "20", "--rounds", "1"],
}


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_small_round_of_each_comes_to_its_end(name, tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", f"bench.{name}", *SMALL[name], "--json", str(report)]

    done = subprocess.run(
        command, cwd=PROJECT, check=False, capture_output=True, text=True
    )

    assert done.returncode in {0, 1}, done.stderr[-2000:]  # 1: a goal was missed
    told = json.loads(report.read_text())
    assert told["bench"] == name
    assert told["ours"] or told["checks"]
    assert isinstance(told["met"], bool)
