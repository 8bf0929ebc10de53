"""The one row about the office."""

from datetime import date
from enum import StrEnum
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasId, Versioned, choice
from app.core.scope import Scope

# Working days that each of the twelve steps may take; 60 in all, within three months.
STEP_DAYS = (3, 7, 8, 5, 10, 5, 2, 7, 4, 3, 4, 2)
REPORT_MONTHS = 3
NOTICE_DAYS = 30
ANSWER_DAYS = 10  # working days


class Office(HasId, Versioned, Base):
    """What stands on letters and pages. ``name`` empty: as the settings of the server say.

    ``is_only`` is always true and unique: there is one office.
    """

    __tablename__ = "office"
    __scope__: ClassVar[Scope] = Scope.EVERYONE
    __table_args__ = (sa.CheckConstraint("is_only", name="one_row"),)

    is_only: Mapped[bool] = mapped_column(default=True, unique=True)
    name: Mapped[str] = mapped_column(default="")
    government: Mapped[str] = mapped_column(default="")
    address: Mapped[str] = mapped_column(default="")
    phone: Mapped[str] = mapped_column(default="")
    fax: Mapped[str] = mapped_column(default="")
    email: Mapped[str] = mapped_column(default="")
    website: Mapped[str] = mapped_column(default="")
    place: Mapped[str] = mapped_column(default="")  # before the date of a letter
    head_title: Mapped[str] = mapped_column(default="")
    # Of papers: {nomor} counts up in a year, {tahun} is the year.
    number_format: Mapped[str] = mapped_column(default="000.8/{nomor}/{tahun}")
    step_days: Mapped[list[int]] = mapped_column(
        ARRAY(sa.Integer), default=lambda: list(STEP_DAYS)
    )
    report_months: Mapped[int] = mapped_column(default=REPORT_MONTHS)
    # Of a request: the design of the application and the server, or either of them.
    asks_for_both: Mapped[bool] = mapped_column(default=False)
    # Before a change of a contract that may break what receivers do with the data.
    notice_days: Mapped[int] = mapped_column(default=NOTICE_DAYS)
    # Complaints and questions: working days to the answer, and whether everybody may send one.
    answer_days: Mapped[int] = mapped_column(default=ANSWER_DAYS)
    hears_public: Mapped[bool] = mapped_column(default=False)

    def __str__(self) -> str:
        return self.name or self.government


class HolidayKind(StrEnum):
    """Why nobody works: a holiday of the nation's, or leave that all take together."""

    NATIONAL = "national"
    COLLECTIVE = "collective"


class Holiday(HasId, Versioned, Base):
    """A day on which nobody works, beside Saturdays and Sundays."""

    __tablename__ = "holiday"
    __scope__: ClassVar[Scope] = Scope.EVERYONE

    day: Mapped[date] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[HolidayKind] = mapped_column(choice(HolidayKind, "kind"))

    def __str__(self) -> str:
        return f"{self.day:%d-%m-%Y} {self.name}"
