"""The ledger's guards, each with the change that switches it off and the tests it fails.

A test that is green without the guard it stands for proves nothing. ``GUARD_OFF`` names one;
its line of code is replaced in this process, and the suite must go red.
"""

import inspect
import sys
from dataclasses import dataclass
from importlib import import_module

LEDGER, FREEZE = "tests/slices/test_ledger.py", "tests/faults/test_freeze_and_cut.py"
SLOTS, BELL = "tests/slices/test_ledger_schedules.py", "tests/slices/test_bell.py"


@dataclass(frozen=True)
class Guard:
    """Where it stands: a function of a module; its line, and what takes its place."""

    module: str
    function: str
    line: str
    instead: str
    tests: tuple[str, ...]


GUARDS = {
    "claim": Guard(
        "app.runs.ledger",
        "_claiming",
        "JobRun.status == RunStatus.QUEUED,",
        "JobRun.status.in_(ACTIVE),",
        (f"{LEDGER}::test_of_many_claims_one_is_granted",),
    ),
    "fence": Guard(
        "app.runs.ledger",
        "_held_by",
        "JobRun.fence == fence,",
        "JobRun.fence >= fence,",
        (
            f"{LEDGER}::test_without_the_lease_nothing_is_written",
            f"{FREEZE}::test_woken_worker_while_the_other_is_at_work",
        ),
    ),
    "lease": Guard(
        "app.runs.sweeps",
        "reconcile",
        "JobRun.lease_until < _CLOCK)",
        "JobRun.lease_until < _CLOCK - timedelta(days=1))",
        (
            f"{LEDGER}::test_a_lost_worker_uses_up_attempts_too",
            f"{FREEZE}::test_woken_worker_changes_nothing",
        ),
    ),
    "lease on the database's clock": Guard(
        "app.runs.ledger",
        "_claiming",
        'lease_until=_CLOCK + sa.bindparam("lease", type_=sa.Interval),',
        "lease_until=sa.literal(__import__('datetime').datetime.now().astimezone())"
        ' + timedelta(hours=1) + sa.bindparam("lease", type_=sa.Interval),',
        (f"{LEDGER}::test_leases_run_on_the_databases_clock",),
    ),
    "outbox: what nobody came for is rung again": Guard(
        "app.runs.sweeps",
        "take_waiting",
        "JobRun.rung_at < _CLOCK - timedelta(seconds=again_after_seconds),",
        "sa.false(),",
        (f"{LEDGER}::test_every_queue_gets_its_turn_and_early_runs_come_first",),
    ),
    "outbox: what Redis did not take waits": Guard(
        "app.runs.sweeps",
        "unring",
        ".values(rung_at=None)",
        ".values(rung_at=JobRun.rung_at)",
        (f"{BELL}::test_what_redis_does_not_take_waits_and_is_rung_at_once",),
    ),
    "unique slot": Guard(
        "app.runs.sweeps",
        "_slot_values",
        '"due_at": due_at,',
        '"due_at": due_at - timedelta(microseconds=__import__("random").randrange(10**6)),',
        (f"{SLOTS}::test_a_due_slot_becomes_one_run_however_often_one_looks",),
    ),
    "one active run for a key": Guard(
        "app.runs.services",
        "run_values",
        '"key": key,',
        '"key": key + str(uuid4()),',
        (f"{LEDGER}::test_simultaneous_requests_for_a_key_make_one_run",),
    ),
    "signature": Guard(
        "jobs.bell",
        "SignedSerializer.loads",
        "if not hmac.compare_digest(signature, self._sign(body)):",
        "if not signature:",
        (f"{BELL}::test_a_message_without_our_signature_is_refused",),
    ),
    "cancel": Guard(
        "app.runs.ledger",
        "end_called_off",
        "            is_called_off(),\n",
        "            sa.false(),\n",
        (
            (
                "tests/slices/test_cancel.py"
                "::test_a_run_called_off_while_it_returns_to_the_queue[failed]"
            ),
        ),
    ),
}


def switch_off(name: str) -> None:
    """Replace the guard's line wherever this process calls its function."""
    guard = GUARDS[name]
    module = import_module(guard.module)
    owner, _, function = guard.function.rpartition(".")
    holder = getattr(module, owner) if owner else module
    source = inspect.cleandoc("\n" + inspect.getsource(getattr(holder, function)))
    if source.count(guard.line) != 1:
        sys.exit(f"the guard {name!r} stands somewhere else by now")
    made: dict[str, object] = {}
    changed = source.replace(guard.line, guard.instead)
    exec(compile(changed, f"<without {name}>", "exec"), vars(module), made)
    setattr(holder, function, made[function])
