"""Tables of agencies, people and roles."""

from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from flask_security import RoleMixin, UserMixin, WebAuthnMixin
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from app.core.clock import utc_now
from app.core.db import Base, HasId, Versioned, choice
from app.core.scope import Scope
from app.core.search import words_index
from app.identity.states import DutyKind

FORMER_PASSWORDS = 5


class Agency(HasId, Versioned, Base):
    """A regional agency (OPD) whose data is joined up."""

    __tablename__ = "agency"
    __scope__: ClassVar[Scope] = Scope.OWN_AGENCY
    __table_args__ = (words_index("agency", "code", "name", "short_name"),)

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


class Role(HasId, Versioned, Base, RoleMixin):  # type: ignore[misc]
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
    # Whether who holds it must log in with a second factor.
    second_factor: Mapped[bool] = mapped_column(default=False)

    def __str__(self) -> str:
        return self.label


duty_role = sa.Table(
    "duty_role",
    Base.metadata,
    sa.Column("duty_id", sa.ForeignKey("duty.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("role_id", sa.ForeignKey("role.id", ondelete="RESTRICT"), primary_key=True),
)


class Duty(HasId, Base):
    """Somebody acts for somebody else for some days: acting official, or by delegation.

    While it lasts, ``user_id`` holds ``roles`` beside their own; it ends by itself.
    """

    __tablename__ = "duty"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        sa.CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
    )

    user_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    for_user_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[DutyKind] = mapped_column(choice(DutyKind, "kind"))
    position: Mapped[str]
    basis: Mapped[str]  # the letter of appointment (SK)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    given_by: Mapped[UUID | None]

    user: Mapped["User"] = relationship(foreign_keys=user_id)
    for_user: Mapped["User"] = relationship(foreign_keys=for_user_id)
    roles: Mapped[list[Role]] = relationship(secondary=duty_role, lazy="selectin")

    @property
    def last_moment(self) -> datetime:
        """The end as people say it: a duty until midnight lasts until the day before."""
        return self.ends_at - timedelta(seconds=1)

    def __str__(self) -> str:
        return f"{self.user.name} – {self.position}"


_person = sa.table("user", sa.column("id"), sa.column("agency_id"), sa.column("active"))
_holder, _lender = _person.alias("holder"), _person.alias("lender")
# What is delegated is not more than the delegating person has, and may still use.
_is_lent = sa.and_(
    _lender.c.active,
    sa.exists().where(
        user_role.c.user_id == Duty.for_user_id,
        user_role.c.role_id == duty_role.c.role_id,
    ),
)
# Who holds which role at this moment: their own, and those of duties that last and were
# given on the side where the person still is.
_held_role = sa.union(
    sa.select(user_role.c.user_id, user_role.c.role_id),
    sa.select(Duty.user_id, duty_role.c.role_id)
    .join(duty_role, duty_role.c.duty_id == Duty.id)
    .join(_holder, _holder.c.id == Duty.user_id)
    .join(_lender, _lender.c.id == Duty.for_user_id)
    .where(
        Duty.starts_at <= sa.func.now(),
        Duty.ends_at > sa.func.now(),
        Duty.agency_id.is_not_distinct_from(_holder.c.agency_id),
        sa.or_(Duty.kind != DutyKind.DELEGATION, _is_lent),
    ),
).subquery("held_role")


class User(HasId, Versioned, Base, UserMixin):  # type: ignore[misc]
    """A person who logs in; ``agency_id`` None is staff of the office."""

    __tablename__ = "user"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index("user", "name", "email", "job_title"),
        sa.Index(None, "name", "id"),
        sa.Index(None, "last_login_at", "id"),
        # They are few, and looked for among all.
        sa.Index("ix_user_switched_off", "id", postgresql_where=sa.text("NOT active")),
    )

    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    job_title: Mapped[str] = mapped_column(default="")
    nip: Mapped[str] = mapped_column(default="")  # 18 digits, or none
    password: Mapped[str | None] = mapped_column(info={"secret": True})
    password_changed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    # Set by somebody else: good for one log-in, to choose an own one.
    must_change_password: Mapped[bool] = mapped_column(default=False)
    former_passwords: Mapped[list[str]] = mapped_column(
        ARRAY(sa.Text), default=list, info={"secret": True}
    )
    tf_primary_method: Mapped[str | None]
    # Encrypted by Flask-Security with a key of this installation.
    tf_totp_secret: Mapped[str | None] = mapped_column(info={"secret": True})
    # The time step of the last code that was taken: none is taken twice.
    tf_last_counter: Mapped[int | None] = mapped_column(sa.BigInteger)
    # Keyed hashes; what they are hashes of was shown once.
    mf_recovery_codes: Mapped[list[str] | None] = mapped_column(
        MutableList.as_mutable(ARRAY(sa.Text)), info={"secret": True}
    )
    fs_webauthn_user_handle: Mapped[str | None] = mapped_column(  # type: ignore[assignment]
        sa.String(64), unique=True, info={"secret": True}
    )
    language: Mapped[str] = mapped_column(default="id")  # of mails
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
    held_roles: Mapped[list[Role]] = relationship(
        secondary=_held_role,
        primaryjoin=lambda: User.id == _held_role.c.user_id,
        secondaryjoin=lambda: Role.id == _held_role.c.role_id,
        viewonly=True,
    )
    # By the name that Flask-Security asks for.
    webauthn: Mapped[list["Passkey"]] = relationship(  # type: ignore[assignment]
        cascade="all, delete-orphan"
    )

    @validates("password")
    def _remember_password(self, _key: str, hashed: str | None) -> str | None:
        """Note when a password was replaced, and by hash which it was, whoever does it."""
        former = [self.password] if self.password else []
        self.former_passwords = [*former, *(self.former_passwords or ())][
            :FORMER_PASSWORDS
        ]
        self.password_changed_at = utc_now()
        self.must_change_password = False
        return hashed

    @property
    def is_active(self) -> bool:
        """Whether this person may be logged in: switched on, and so is their agency."""
        return self.active and (self.agency is None or self.agency.active)

    @property
    def needs_second_factor(self) -> bool:
        """Whether a role of theirs asks for a second factor."""
        return any(role.second_factor for role in self.held_roles)

    @property
    def has_second_factor(self) -> bool:
        return self.tf_primary_method is not None or bool(self.webauthn)

    def check_tf_required(
        self,
        tf_setup_methods: list[tuple[str, str]],
        tf_fresh: bool,  # noqa: FBT001 - Flask-Security's
    ) -> tuple[bool, list[tuple[str, str]]]:
        """Tell Flask-Security whether this log-in wants a second factor, and which there are."""
        del tf_fresh
        return self.needs_second_factor or bool(tf_setup_methods), tf_setup_methods

    def check_tf_required_setup(self) -> bool:
        """Tell Flask-Security whether the second factor may be given up."""
        return self.needs_second_factor

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


class Passkey(HasId, Base, WebAuthnMixin):  # type: ignore[misc]
    """A key of a person's device or token; ``usage`` first (alone) or secondary."""

    __tablename__ = "passkey"
    __scope__: ClassVar[Scope] = Scope.PERSON

    user_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str]
    credential_id: Mapped[bytes] = mapped_column(unique=True)
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    transports: Mapped[list[str] | None] = mapped_column(ARRAY(sa.Text))
    backup_state: Mapped[bool]
    device_type: Mapped[str]
    extensions: Mapped[str | None]
    create_datetime: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    lastuse_datetime: Mapped[datetime]
    usage: Mapped[str]

    def __str__(self) -> str:
        return self.name


class Invitation(HasId, Base):
    """A one-time code for a person to choose a password by; only its hash is kept.

    ``stamp`` is of what the person's sessions hang on: what ends those ends it, too.
    """

    __tablename__ = "invitation"
    __scope__: ClassVar[Scope] = Scope.AGENCY

    user_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    code_hash: Mapped[bytes] = mapped_column(unique=True, info={"secret": True})
    stamp: Mapped[str] = mapped_column(default="", info={"secret": True})
    invited_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()

    def __str__(self) -> str:
        return str(self.user)


class FactorReset(HasId, Base):
    """A wish to take away a person's lost second factor; somebody else confirms it."""

    __tablename__ = "factor_reset"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        sa.Index(
            "uq_factor_reset_open",
            "user_id",
            unique=True,
            postgresql_where=sa.text("settled_at IS NULL"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    reason: Mapped[str]
    asked_by: Mapped[UUID]
    asked_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    settled_by: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]
    granted: Mapped[bool] = mapped_column(default=False)

    user: Mapped[User] = relationship()

    def __str__(self) -> str:
        return str(self.user)


class LoginSession(HasId, Base):
    """One log-in of one browser. The cookie only points here; without the row it is dead.

    ``user_key`` is the person's ``fs_uniquifier`` of that moment: a new one ends them all.
    """

    __tablename__ = "login_session"
    __scope__: ClassVar[Scope] = Scope.PERSON

    user_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    user_key: Mapped[str] = mapped_column(sa.String(64), info={"secret": True})
    token_hash: Mapped[bytes] = mapped_column(unique=True, info={"secret": True})
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    last_seen_at: Mapped[datetime] = mapped_column(
        server_default=sa.func.now(), index=True
    )
    address: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="")
    # For support: as which agency this browser looks on just now.
    as_agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"))
