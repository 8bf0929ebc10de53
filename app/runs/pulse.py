"""The pulse of workers and schedulers: rows that health and the overview read."""

import os
import socket

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.runs.models import WorkerHeartbeat


def beat(session: Session, *, role: str, queue: str = "", pid: int | None = None) -> None:
    """Say that a process of this host lives."""
    host, number = socket.gethostname(), pid or os.getpid()
    statement = insert(WorkerHeartbeat).values(
        name=f"{role}:{host}:{number}", role=role, queue=queue, host=host, pid=number
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"seen_at": sa.func.clock_timestamp()}
        )
    )
    session.execute(
        sa.delete(WorkerHeartbeat).where(
            WorkerHeartbeat.seen_at
            < sa.func.clock_timestamp() - sa.text("interval '1 day'")
        )
    )


def leave(session: Session, *, role: str, pid: int | None = None) -> None:
    """Take a process of this host off the list: it has ended and somebody knows it."""
    name = f"{role}:{socket.gethostname()}:{pid or os.getpid()}"
    session.execute(sa.delete(WorkerHeartbeat).where(WorkerHeartbeat.name == name))
