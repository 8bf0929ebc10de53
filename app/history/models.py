"""What was moved to the trash, whole, until somebody brings it back or its days are over."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasId
from app.core.scope import Scope


class Trashed(HasId, Base):
    """One object in the trash, with its parts.

    ``rows`` are its rows as the database wrote them, table and columns, in the order in which
    they can be written again; secrets among them as they were stored. ``names`` are the
    unique values that they had.
    """

    __tablename__ = "trash"
    __scope__: ClassVar[Scope] = Scope.OFFICE
    __table_args__ = (sa.Index(None, "trashed_at", "id"),)

    object_type: Mapped[str]
    object_id: Mapped[str]
    label: Mapped[str]
    agency_id: Mapped[UUID | None]
    # Deferred: the sweep that empties the trash has no business with what is in it.
    rows: Mapped[list[Any]] = mapped_column(deferred=True, info={"secret": True})
    names: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    trashed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    trashed_by: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")

    def __str__(self) -> str:
        return self.label
