"""The words of a contract: kinds, load modes, types, classes, and a version's life."""

from enum import StrEnum


class DatasetKind(StrEnum):
    MASTER = "master"
    TRANSACTION = "transaction"
    REFERENCE = "reference"


class LoadMode(StrEnum):
    """How a pull changes the central table."""

    SNAPSHOT = "snapshot"  # the whole set each time: what is absent has vanished
    UPSERT = "upsert"  # new and changed rows only: nothing vanishes


class VersionStatus(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    RETIRED = "retired"


class FieldType(StrEnum):
    """Types of contract fields. Identifiers (NIK, NIP, region codes) are always text."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"


class Classification(StrEnum):
    """Who may see it (design of domain.md 1.1: open, restricted, personal, sensitive)."""

    PUBLIC = "umum"
    RESTRICTED = "terbatas"
    PERSONAL = "pribadi_umum"
    SENSITIVE = "pribadi_spesifik"
