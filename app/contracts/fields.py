"""A contract field as a plain value: what decoder, DDL and Excel are generated from."""

import msgspec

from app.contracts.states import Classification, FieldType


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One data element of a contract version.

    ``source_path`` is dotted (``orang.nip``). ``min_length``/``max_length`` count characters
    of text; ``minimum``/``maximum`` bound numbers and dates, written as the type writes
    them; ``pattern`` must match the whole text, and its classes mean ASCII.
    """

    name: str
    source_path: str
    label: str
    type: FieldType
    required: bool = False
    is_key: bool = False
    min_length: int | None = None
    max_length: int | None = None
    minimum: str = ""
    maximum: str = ""
    pattern: str = ""
    allowed_values: tuple[str, ...] = ()
    classification: Classification = Classification.PUBLIC
    definition: str = ""
    unit: str = ""
    example: str = ""
