"""What one key opens at this moment, as plain values that the door keeps for a second."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.contracts.fields import FieldSpec
from app.datasets.reading import PERSONAL, Chosen

SAMPLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """One dataset as one grant opens it.

    ``fields`` are readable, ``hidden`` exist but are not; ``keys`` order the rows, readable
    or not; ``chosen`` are the rows that an agreement opens, None all of them. A ``sample`` has its first rows only, personal fields masked. ``mark`` changes
    with everything beside the rows that an answer depends on. ``said`` are parameters of its
    statements, as texts.
    """

    slug: str
    title: str
    description: str
    agency: str
    dataset_id: UUID
    agreement: str
    valid_until: datetime | None
    version: int
    fields: tuple[FieldSpec, ...]
    hidden: tuple[FieldSpec, ...]
    keys: tuple[FieldSpec, ...]
    chosen: Chosen | None
    sample: bool
    row_count: int
    published_at: datetime | None
    run_id: UUID | None
    mark: str
    by_name: dict[str, FieldSpec]
    said: dict[str, str | None]

    def is_masked(self, each: FieldSpec) -> bool:
        return self.sample and each.classification in PERSONAL


@dataclass(frozen=True, slots=True)
class Access:
    """A client behind a good key, and the datasets that are open to it by slug.

    ``said`` are parameters of its statements, as texts.
    """

    key_hash: bytes
    prefix: str
    networks: tuple[str, ...]
    client_id: UUID
    client: str
    requests_per_minute: int
    opened: dict[str, Opened]
    said: dict[str, str]
