"""Tables of agencies, people and roles."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from flask_security import RoleMixin, UserMixin
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import Mapped, Unmapped, mapped_column, relationship

from app.core.db import Base, HasId, Versioned
from app.core.scope import Scope
from app.core.search import words_column, words_index


class Agency(HasId, Versioned, Base):
    """A regional agency (OPD) whose data is joined up."""

    __tablename__ = "agency"
    __scope__: ClassVar[Scope] = Scope.OWN_AGENCY
    __table_args__ = (words_index(),)

    words: Unmapped[Any] = words_column("code", "name", "short_name")
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    short_name: Mapped[str] = mapped_column(default="")
    email: Mapped[str] = mapped_column(default="")
    phone: Mapped[str] = mapped_column(default="")
    address: Mapped[str] = mapped_column(default="")
    active: Mapped[bool] = mapped_column(default=True)

    def __str__(self) -> str:
        return self.name


user_role = sa.Table(
    "user_role",
    Base.metadata,
    sa.Column("user_id", sa.ForeignKey("user.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("role_id", sa.ForeignKey("role.id", ondelete="RESTRICT"), primary_key=True),
)


class Role(HasId, Base, RoleMixin):  # type: ignore[misc]
    """What a person may do, as data: an office can change it without a programmer."""

    __tablename__ = "role"
    __scope__: ClassVar[Scope] = Scope.EVERYONE

    name: Mapped[str] = mapped_column(unique=True)
    label: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    for_agency: Mapped[bool] = mapped_column(default=False)
    permissions: Mapped[list[str]] = mapped_column(
        MutableList.as_mutable(ARRAY(sa.Text)), default=list
    )

    def __str__(self) -> str:
        return self.label


class User(HasId, Versioned, Base, UserMixin):  # type: ignore[misc]
    """A person who logs in; ``agency_id`` None is staff of the office."""

    __tablename__ = "user"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index(),
        sa.Index(None, "name", "id"),
        sa.Index(None, "last_login_at", "id"),
    )

    words: Unmapped[Any] = words_column("name", "email", "job_title")
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    job_title: Mapped[str] = mapped_column(default="")
    password: Mapped[str | None] = mapped_column(info={"secret": True})
    active: Mapped[bool] = mapped_column(default=True)
    # Changing it ends every session of the person (Flask-Security's session key).
    fs_uniquifier: Mapped[str] = mapped_column(
        sa.String(64), unique=True, info={"secret": True}
    )
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    # None until the first log-in; Flask-Security annotates it without.
    last_login_at: Mapped[datetime | None]  # type: ignore[assignment]

    agency: Mapped[Agency | None] = relationship(lazy="joined")
    roles: Mapped[list[Role]] = relationship(  # type: ignore[assignment]
        secondary=user_role, lazy="selectin"
    )

    @property
    def is_active(self) -> bool:
        """Whether this person may be logged in: switched on, and so is their agency."""
        return self.active and (self.agency is None or self.agency.active)

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"
