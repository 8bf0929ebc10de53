"""``./simpul check``: everything that is checked without running the product, then the tests."""

import subprocess
import sys
from collections.abc import Sequence

from ops import suite
from ops.bootstrap import say
from ops.places import PROJECT

STEPS: tuple[tuple[str, Sequence[str]], ...] = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("mypy", ("-m", "mypy")),
    (
        "lint-imports",
        (
            "-c",
            "import sys; from importlinter.cli import lint_imports_command as main; main()",
        ),
    ),
    ("house", ("-m", "ops.house")),
)


def check(*, with_tests: bool) -> int:
    """Go through all steps, also behind a failed one; 0 when every one of them held."""
    failed = [name for name, arguments in STEPS if not _holds(name, arguments)]
    if with_tests:
        say("── test")
        if suite.test([]) != 0:
            failed.append("test")
    if failed:
        names = ", ".join(failed)
        say(f"Belum lolos / not passed: {names}")
        return 1
    say("Semua pemeriksaan lolos. / All checks passed.")
    return 0


def _holds(name: str, arguments: Sequence[str]) -> bool:
    say(f"── {name}")
    return (
        subprocess.run([sys.executable, *arguments], cwd=PROJECT, check=False).returncode
        == 0
    )
