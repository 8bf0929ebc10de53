"""The job that writes an export."""

from app.exports import services
from app.runs.ledger import Lease
from jobs.runtime import current_settings


def export(lease: Lease) -> None:
    """Write the Excel file of ``lease.params``."""
    settings = current_settings()
    services.export(
        lease,
        settings.home,
        days=settings.download_days,
        time_zone=settings.time_zone,
        office_name=settings.office_name,
    )
