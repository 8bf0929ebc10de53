"""The job that activates a contract version."""

from app.datasets import activation
from app.runs.ledger import Lease


def activate(lease: Lease) -> None:
    """Run the approved plan of ``lease.params``."""
    activation.activate(lease)
