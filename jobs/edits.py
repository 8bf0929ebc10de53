"""The job that changes many rows as their list asked for it."""

from app.listings import bulk
from app.runs.ledger import Lease


def edit(lease: Lease) -> None:
    """Make the changes of ``lease.params``."""
    bulk.carry_out(lease)
