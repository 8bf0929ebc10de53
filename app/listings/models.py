"""Tables of what people keep of lists."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.core.db import Base, HasId
from app.core.scope import Scope
from app.identity.models import User


class SavedView(HasId, Base):
    """A list as somebody narrowed, sorted and laid it out, under a name.

    ``query`` is the part of the address behind the question mark. A shared one is seen by
    the person's own side: the office, or the agency in ``agency_id``; what rows it shows is
    each reader's own matter.
    """

    __tablename__ = "saved_view"
    __scope__: ClassVar[Scope] = Scope.SHARED
    __table_args__ = (sa.UniqueConstraint("user_id", "listed", "name"),)

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"))
    listed: Mapped[str] = mapped_column(index=True)  # the list, by the name of its pages
    name: Mapped[str]
    query: Mapped[str]
    is_shared: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    user: Mapped[User] = relationship(lazy="joined")

    def __str__(self) -> str:
        return self.name


class BulkEdit(HasId, Base):
    """What somebody asked to be changed in many rows, for the run that does it.

    ``changes`` are texts by column as a form sends them; ``idents`` the rows as they were
    found when it was asked for.
    """

    __tablename__ = "bulk_edit"
    __scope__: ClassVar[Scope] = Scope.PERSON

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id"), index=True)
    listed: Mapped[str]
    changes: Mapped[dict[str, Any]]
    idents: Mapped[list[UUID]] = mapped_column(ARRAY(sa.Uuid))
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
