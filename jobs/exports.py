"""The job that writes an export."""

from app.runs.ledger import Lease


def export(lease: Lease) -> None: ...
