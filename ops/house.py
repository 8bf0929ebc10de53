"""Checks of the house that no ready-made tool does; ``python -m ops.house`` runs them all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ops import translations
from ops.bootstrap import Refusal, say
from ops.places import PROJECT
from ops.servers import throwaway_servers

# A check returns what is wrong, one line each; nothing means that it holds.
Check = Callable[[], list[str]]


def migrations_match_models() -> list[str]:
    """Build a database from the migrations alone and compare it with the models."""
    with throwaway_servers() as (_supervisor, addresses, folder):
        env = {
            **os.environ,
            "DATABASE_URL": addresses.application,
            "MIGRATION_DATABASE_URL": addresses.owner,
            "REDIS_URL": addresses.redis,
            "SIMPUL_HOME": str(folder),
        }
        return _alembic(env, "upgrade", "head") or _alembic(env, "check")


def _alembic(env: dict[str, str], *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "alembic", *arguments]
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return []
    return [
        f"alembic {' '.join(arguments)}:",
        *(done.stdout + done.stderr).splitlines()[-20:],
    ]


def sh_scripts_are_executable() -> list[str]:
    """The one command and CI's entry can be started as they lie."""
    scripts = (PROJECT / "simpul", PROJECT / ".ci" / "run")
    return [f"{path.name} is not executable" for path in scripts if not _may_run(path)]


def _may_run(path: Path) -> bool:
    return os.access(path, os.X_OK)


def translations_are_complete() -> list[str]:
    """Every sentence that a person can meet has its Indonesian one, filled alike."""
    return [*translations.untranslated(), *translations.misfilled()]


CHECKS: list[Check] = [
    sh_scripts_are_executable,
    translations_are_complete,
    migrations_match_models,
]


def main() -> int:
    """Run every check and show what does not hold."""
    failed = 0
    for check in CHECKS:
        try:
            problems = check()
        except Refusal as refusal:
            problems = refusal.sentences
        say(f"{'ok ' if not problems else 'NOT'} {check.__name__}", *problems)
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
