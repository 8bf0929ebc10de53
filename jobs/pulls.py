"""The job that pulls one source."""

from app.pulls import pulling
from app.runs.ledger import Lease
from jobs.perform import current_reader
from jobs.runtime import current_settings


def pull(lease: Lease) -> None:
    """Pull the source of ``lease.params`` into its dataset."""
    settings = current_settings()
    pulling.pull(
        lease, current_reader().pages, settings.approved_hosts, settings.time_zone
    )
