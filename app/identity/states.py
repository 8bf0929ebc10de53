"""Words of people's duties."""

from enum import StrEnum


class DutyKind(StrEnum):
    """How somebody acts for somebody else."""

    PLT = "plt"  # pelaksana tugas: the post is vacant
    PLH = "plh"  # pelaksana harian: its holder is away
    DELEGATION = "delegation"
