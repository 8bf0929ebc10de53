"""``./simpul test``: the whole suite against a PostgreSQL and a Redis of its own."""

import os
import sys

from ops.bootstrap import say
from ops.places import PROJECT
from ops.servers import Addresses, throwaway_servers
from ops.supervisor import ProcessSpec, Stopped


def test(arguments: list[str]) -> int:
    """Run pytest with the addresses of throw-away servers in its environment."""
    try:
        with throwaway_servers() as (supervisor, addresses, _folder):
            env = {**os.environ, **test_addresses(addresses)}
            command = (sys.executable, "-m", "pytest", *pytest_arguments(arguments))
            spec = ProcessSpec(
                "pytest", command, env, PROJECT, keep=False, on_terminal=True
            )
            return supervisor.run(spec)
    except Stopped as end:
        say("Pengujian dihentikan. / The tests were stopped.")
        return 130 if end.exit_status else 143


def test_addresses(addresses: Addresses) -> dict[str, str]:
    """The variables that the tests' fixtures read."""
    return {
        "TEST_PG_ADMIN_URL": addresses.admin,
        "TEST_OWNER_URL": addresses.owner,
        "TEST_APP_URL": addresses.application,
        "TEST_REDIS_URL": addresses.redis,
    }


def pytest_arguments(arguments: list[str]) -> list[str]:
    """Two workers and the fast lane, unless the person chose otherwise."""
    chosen = [argument for argument in arguments if argument != "--long"]
    defaults = []
    if not any(argument.startswith("-m") for argument in chosen):
        everything = "--long" in arguments
        defaults += ["-m", "long or not long" if everything else "not long"]
    if not _chose_processes(chosen):
        # In the order of tests/conftest.py: what takes longest is not begun last.
        defaults += ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    return defaults + chosen


def _chose_processes(arguments: list[str]) -> bool:
    joined = " ".join(arguments)
    long_form = any(a.startswith(("-n", "--numprocesses", "--pdb")) for a in arguments)
    return long_form or "no:xdist" in joined
