"""Working days: pure, on days of the office's own wall clock."""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

SATURDAY = 5
LONGEST = 4_000  # working days that are counted at most


@dataclass(frozen=True, slots=True)
class Calendar:
    """Saturdays, Sundays and ``holidays`` are no working days."""

    holidays: frozenset[date] = frozenset()

    def is_working(self, day: date) -> bool:
        return day.weekday() < SATURDAY and day not in self.holidays

    def count(self, begin: date, end: date) -> int:
        """Return the working days after ``begin`` up to and with ``end``; 0 if it is before."""
        return sum(self.is_working(day) for day in _days(begin, end))

    def after(self, begin: date, days: int) -> date:
        """Return the day on which so many working days have gone by after ``begin``.

        Zero days are gone by on the day itself. Raises ``ValueError`` beyond ``LONGEST``.
        """
        if days > LONGEST:
            raise ValueError("more working days than anybody plans for")
        day = begin
        while days > 0:
            day += timedelta(days=1)
            days -= self.is_working(day)
        return day


def _days(begin: date, end: date) -> Iterator[date]:
    for number in range(1, (end - begin).days + 1):
        yield begin + timedelta(days=number)


def months_after(begin: date, months: int) -> date:
    """Return the same day some months later, or the last of that month where there is none."""
    year, month = divmod(begin.month - 1 + months, 12)
    year, month = begin.year + year, month + 1
    return date(year, month, min(begin.day, monthrange(year, month)[1]))
