"""Each guard is switched off, and the suite goes red: its tests can see it missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.guards import GUARDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", GUARDS)
def test_the_suite_goes_red_without(name):
    if os.environ.get("GUARD_OFF"):
        pytest.skip("this is the suite without a guard")
    for test in GUARDS[name].tests:
        # By its own database: it is "master" there, and gw0 or gw1 here.
        command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", test]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        ended = subprocess.run(
            command, cwd=ROOT, env=kept | {"GUARD_OFF": name}, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout[-3000:]
        assert " failed" in ended.stdout or "FAILED" in ended.stdout
        assert "error" not in ended.stdout.splitlines()[-1], ended.stdout[-3000:]
