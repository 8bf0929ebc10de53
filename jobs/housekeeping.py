"""The job that tidies up."""

from app.runs.ledger import Lease


def tidy(lease: Lease) -> None: ...
