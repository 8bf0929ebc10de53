"""The job that brings a dataset back to an earlier publish."""

from app.pulls import rollback
from app.runs.ledger import Lease


def roll_back(lease: Lease) -> None:
    """Bring back the dataset of ``lease.params``."""
    rollback.roll_back(lease)
