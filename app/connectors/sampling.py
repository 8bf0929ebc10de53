"""What a sample says: where the records are, and what their fields are.

Pure. The sample is one answer, decoded; what leaves here is masked.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from app.connectors.masking import SHOWN, mask, masked_json, personal_paths

MAX_DEPTH = 6
_ROWS_NAMES = (
    "data",
    "result",
    "results",
    "items",
    "records",
    "rows",
    "list",
    "response",
)
_TOTAL_NAMES = ("total", "recordsTotal", "total_count", "totalCount", "count", "jumlah",
                "total_data", "totalRecords", "total_rows")  # fmt: skip
_KEY_NAME = re.compile(
    r"^(id|_id|uuid|kode|code|nik|nip|npwp|npsn|nomor|no|key)$|(_id|_kode|_code|^kode_.*|^id_.*)$",
    re.IGNORECASE,
)
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,14})")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})\.\d{1,9}")
_DIGITS = re.compile(r"\d{1,38}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)?"
)
_LONG, _LARGE = 10**15, 10**38
_MAX_ENUM = 8


class FoundField(msgspec.Struct, frozen=True):
    """One field of the sample. ``values`` are masked; ``choices`` a short closed list.

    ``fits`` names the types of a contract that take every value as it is sent: none when
    they are mixed, or ``nested``. ``long_number``: other readers will round it.
    """

    path: str
    type: str
    filled: int
    empty: int
    is_unique: bool
    is_key: bool
    is_personal: bool
    max_length: int
    values: list[str]
    choices: list[str]
    fits: list[str]
    nested: bool = False
    long_number: bool = False


class Sample(msgspec.Struct, frozen=True):
    """What one answer holds. Paths are those of a source's settings."""

    rows_path: str | None
    inner_path: str
    row_count: int
    other_paths: list[str]
    total_path: str
    total: int | None
    next_path: str
    success_path: str
    success_value: str
    fields: list[FoundField]
    rows: list[str]


def sample_of(answer: Any, rows_path: str | None, inner_path: str = "") -> Sample:
    """Read a decoded answer; ``rows_path`` None: find the records."""
    inner = inner_path
    if not inner:
        inner, answer = _unwrapped(answer)
    found = sorted(_row_lists(answer, ()), key=_likely, reverse=True)
    paths = [path for path, _ in found]
    chosen = rows_path if rows_path is not None else (paths[0] if paths else None)
    rows = dict(found).get(chosen or "", []) if chosen is not None else []
    total_path, total = _total_of(answer, chosen or "", len(rows))
    success = _success_of(answer)
    return Sample(
        rows_path=chosen if chosen in paths else None,
        inner_path=inner,
        row_count=len(rows),
        other_paths=[path for path in paths if path != chosen][:SHOWN],
        total_path=total_path,
        total=total,
        next_path=_next_of(answer),
        success_path=success[0],
        success_value=success[1],
        fields=fields_of(rows),
        rows=[masked_json(row) for row in rows[:SHOWN]],
    )


def _unwrapped(answer: Any) -> tuple[str, Any]:
    """Open a JSON text inside the answer; its place and what it holds."""
    candidates = [("$", answer)] if isinstance(answer, str) else []
    if isinstance(answer, Mapping):
        candidates = [(str(name), value) for name, value in answer.items()]
    for name, value in candidates:
        if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
            try:
                return name, msgspec.json.decode(value.encode())
            except (msgspec.DecodeError, UnicodeEncodeError):
                continue
    return "", answer


def _row_lists(value: Any, way: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
    """Every list of objects, with its path; not those inside records."""
    if len(way) > MAX_DEPTH:
        return
    if isinstance(value, list):
        if (
            value
            and all(isinstance(each, dict) for each in value)
            and not _is_mixed(value)
        ):
            yield ".".join(way), value
            return
        for place, each in enumerate(value[:4]):
            yield from _row_lists(each, (*way, str(place)))
    elif isinstance(value, dict):
        for name, each in value.items():
            if name and "." not in name and isinstance(each, list | dict):
                yield from _row_lists(each, (*way, name))


def _is_mixed(value: list[Any]) -> bool:
    """A short list whose objects have nothing in common is no list of records."""
    return len(value) > 1 and not set.intersection(*(set(each) for each in value[:20]))


def _likely(found: tuple[str, list[Any]]) -> tuple[bool, int, int]:
    path, rows = found
    last = path.rpartition(".")[2]
    return (
        last in _ROWS_NAMES or last.isdecimal() or not path,
        len(rows),
        -path.count("."),
    )


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path, or None."""
    for part in filter(None, path.split(".")):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _total_of(answer: Any, rows_path: str, row_count: int) -> tuple[str, int | None]:
    """A count near the records that is no smaller than how many came."""
    for path, value in _scalars(answer, (), rows_path):
        name = path.rpartition(".")[2]
        total = _as_count(value) if name in _TOTAL_NAMES else None
        if total is not None and total >= row_count:
            return path, total
    return "", None


def _as_count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:15])
    return value if type(value) is int and value >= 0 else None


def _scalars(value: Any, way: tuple[str, ...], skip: str) -> Iterator[tuple[str, Any]]:
    """The scalar values outside the records, the shallow ones first."""
    if (way and ".".join(way) == skip) or len(way) > 4:
        return
    inner: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inner = [
            (str(name), each) for name, each in value.items() if "." not in str(name)
        ]
    elif isinstance(value, list):
        inner = [(str(place), each) for place, each in enumerate(value[:4])]
    for name, each in inner:
        if not isinstance(each, dict | list):
            yield ".".join((*way, name)), each
    for name, each in inner:
        if isinstance(each, dict | list):
            yield from _scalars(each, (*way, name), skip)


def _next_of(answer: Any) -> str:
    for path in ("next_page_url", "links.next", "next", "next_url", "@odata.nextLink"):
        value = at(answer, path) if "@" not in path else None
        if isinstance(value, str) and ("/" in value or "?" in value):
            return path
    return ""


def _success_of(answer: Any) -> tuple[str, str]:
    """A field that says that all went well, as services of offices have it."""
    if not isinstance(answer, dict):
        return "", ""
    for name in ("success", "ok", "status", "code", "metaData.code", "meta.code"):
        value = at(answer, name)
        if value is True:
            return name, "true"
        if type(value) is int and value == 200:
            return name, "200"
        if isinstance(value, str) and value.lower() in {"ok", "success", "sukses", "200"}:
            return name, value
    return "", ""


# --- fields -------------------------------------------------------------------------


def fields_of(rows: Sequence[Any]) -> list[FoundField]:
    """The fields of records, nested objects by their dotted path."""
    columns: dict[str, list[Any]] = {}
    for row in rows:
        if isinstance(row, dict):
            for path, value in _leaves(row, ()):
                columns.setdefault(path, []).append(value)
    personal = frozenset(personal_paths(rows))
    found = [
        _field(path, values, len(rows), is_personal=path in personal)
        for path, values in columns.items()
    ]
    return _with_one_key(found)


def _leaves(row: Mapping[str, Any], way: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if not name or "." in name:
            continue
        if isinstance(value, dict) and value and len(way) < 3:
            yield from _leaves(value, (*way, name))
        else:
            yield ".".join((*way, name)), value


def _field(
    path: str, values: Sequence[Any], row_count: int, *, is_personal: bool
) -> FoundField:
    filled = [value for value in values if value not in (None, "")]
    texts = [_as_text(value) for value in filled]
    fits = _fitting([value for value in values if value is not None])
    kind = _proposed(path, fits, filled)
    last = path.rpartition(".")[2]
    return FoundField(
        path=path,
        type=kind,
        filled=len(filled),
        empty=row_count - len(filled),
        is_unique=len(set(texts)) == len(texts) == row_count > 1,
        is_key=False,
        is_personal=is_personal,
        max_length=max((len(text) for text in texts), default=0),
        values=[
            mask(last, text, is_personal=is_personal) for text in dict.fromkeys(texts)
        ][:SHOWN],
        choices=_choices(kind, texts) if not is_personal else [],
        fits=fits,
        nested=any(isinstance(value, dict | list) for value in filled),
        long_number=any(type(v) is int and abs(v) >= _LONG for v in filled),
    )


def _fitting(values: Sequence[Any]) -> list[str]:
    """The types of a contract that take all of these values, the narrowest first."""
    return [kind for kind, takes in _TAKES.items() if all(map(takes, values))]


def _proposed(path: str, fits: Sequence[str], filled: Sequence[Any]) -> str:
    """The type to propose. A code that is sent as a text stays one: 14.10 is no number,
    nor are digits with a zero in front, or many of them.
    """
    texts = [value for value in filled if isinstance(value, str)]
    is_code = _KEY_NAME.search(path.rpartition(".")[2]) is not None
    if not filled or (texts and (is_code or not all(map(_is_number_text, texts)))):
        fits = [kind for kind in fits if kind != "number"]
    return fits[0] if filled and fits else "text"


def _with_one_key(fields: list[FoundField]) -> list[FoundField]:
    """Mark the likeliest key: unique, of a key's name, the first of them.

    Not CKAN's own number of the row, ``_id``, when there is another: it changes with each
    upload.
    """
    unique = [
        each for each in fields if each.is_unique and each.type in {"text", "integer"}
    ]
    if not unique:
        return fields
    named = [each for each in unique if _KEY_NAME.search(each.path.rpartition(".")[2])]
    key = min(named or unique, key=lambda each: each.path == "_id")
    return [msgspec.structs.replace(each, is_key=each is key) for each in fields]


def _is_number_text(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text) or _NUMBER.fullmatch(text))


def _is_integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _is_number_text(value) or bool(_DIGITS.fullmatch(value))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _LARGE


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _reads(date.fromisoformat, value, _DATE)


def _is_timestamp(value: Any) -> bool:
    return isinstance(value, str) and _reads(datetime.fromisoformat, value, _TIMESTAMP)


def _reads(read: Any, text: str, form: re.Pattern[str]) -> bool:
    if not form.fullmatch(text):
        return False
    try:
        read(text)
    except ValueError:
        return False
    return True


# As a contract's decoder takes them; a test compares the two.
_TAKES: Mapping[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "date": _is_date,
    "timestamp": _is_timestamp,
    "number": _is_number,
    "text": lambda value: isinstance(value, str),
}


def _choices(kind: str, texts: Sequence[str]) -> list[str]:
    """A closed list of values, when few of them come again and again."""
    different = sorted(set(texts))
    few = 1 < len(different) <= _MAX_ENUM and len(texts) >= 3 * len(different)
    return different if kind == "text" and few and max(map(len, different)) <= 40 else []


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
