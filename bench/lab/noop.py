"""Work that does nothing but say when it began."""

import time
from typing import Any

import msgspec

from app.core import db
from app.runs import kinds
from app.runs.kinds import Kind
from app.runs.states import QueueName

NAME = "noop"


class NoopParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is to be known."""


def register() -> None:
    """Make it a kind of work; before anything else has looked at the kinds there are."""
    made: Any = Kind(NAME, NAME, "bench.lab.noop.run", QueueName.NOTICES, NoopParams)  # type: ignore[arg-type]
    kinds.KINDS = {**kinds.KINDS, NAME: made}


def run(lease: Any) -> None:
    began = time.time()
    with db.unit_of_work() as session:
        lease.succeed(session, {"began": began})
