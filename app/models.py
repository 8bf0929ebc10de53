"""All tables, imported in one place, for migrations and for checks of the whole schema."""

from app.api import models as api
from app.audit import models as audit, recorder
from app.complaints import models as complaints
from app.contracts import models as contracts
from app.core.db import Base
from app.datasets import models as datasets
from app.exports import models as exports
from app.history import models as history
from app.identity import models as identity
from app.integrations import models as integrations
from app.listings import models as listings
from app.notifications import models as notifications
from app.office import models as office
from app.pulls import models as pulls
from app.requests import models as requests
from app.runs import models as runs
from app.sources import models as sources

__all__ = ["ROOMS", "metadata"]

ROOMS = (
    api,
    audit,
    recorder,
    complaints,
    contracts,
    datasets,
    exports,
    history,
    identity,
    integrations,
    notifications,
    listings,
    office,
    pulls,
    requests,
    runs,
    sources,
)
metadata = Base.metadata
