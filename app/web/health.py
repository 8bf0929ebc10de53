"""Is it alive, and can it do its work: for load balancers and for people on watch."""

from typing import Any

import sqlalchemy as sa
from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.core import db
from app.web.guard import open_to_all

blueprint = Blueprint("health", __name__, url_prefix="/health")
MAX_LAG_SECONDS = 120
# What the workers' room counts; asked in one query so that health costs next to nothing.
_PULSE = sa.text(
    "SELECT (SELECT count(*) FROM worker_heartbeat WHERE role = 'worker'"
    " AND seen_at > clock_timestamp() - interval '60 seconds') AS workers,"
    " (SELECT count(*) FROM worker_heartbeat WHERE role = 'scheduler'"
    " AND seen_at > clock_timestamp() - interval '60 seconds') AS schedulers,"
    " (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(next_due_at)), 0)"
    " FROM schedule WHERE enabled AND next_due_at < clock_timestamp()) AS lag"
)


@blueprint.get("/live")
@open_to_all
def live() -> ResponseReturnValue:
    """Answer whenever the process runs; asks nobody else."""
    return {"status": "ok"}


@blueprint.get("/ready")
@open_to_all
def ready() -> ResponseReturnValue:
    """Answer 200 when database, Redis, workers and scheduler do their work, else 503."""
    checks = {**_database(), "redis": _redis()}
    fine = all(check["ok"] for check in checks.values())
    return {"status": "ok" if fine else "failing", "checks": checks}, 200 if fine else 503


def _database() -> dict[str, dict[str, Any]]:
    try:
        with db.unit_of_work() as session:
            row = session.execute(_PULSE).one()
    except SQLAlchemyError:
        return {"database": {"ok": False}}
    lag = float(row.lag)
    return {
        "database": {"ok": True},
        "worker": {"ok": row.workers > 0, "alive": row.workers},
        "scheduler": {"ok": row.schedulers > 0, "alive": row.schedulers},
        "schedule_lag": {"ok": lag <= MAX_LAG_SECONDS, "seconds": round(lag, 1)},
    }


def _redis() -> dict[str, Any]:
    url = current_app.extensions["simpul_settings"].redis_url
    client = Redis.from_url(url, retry=None, socket_connect_timeout=1, socket_timeout=1)
    try:
        client.ping()
    except RedisError:
        return {"ok": False}
    finally:
        client.close()
    return {"ok": True}
