"""What a sample says: where the records are, what their fields are, and nothing of a person.

Pure. The sample is one answer, decoded; what leaves here is masked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

MAX_DEPTH = 6
SHOWN = 5  # values and records that a page shows
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
# A person's numbers, wherever they stand: 16 digits (NIK), 15 with or without dots (NPWP),
# telephone numbers, addresses of e-mail.
_PERSONAL = re.compile(
    r"(?<!\d)\d{16}(?!\d)"
    r"|(?<!\d)\d{2}\.\d{3}\.\d{3}\.\d-\d{3}\.\d{3}(?!\d)"
    r"|(?<!\d)\d{15}(?!\d)|(?<!\d)\d{18}(?!\d)"
    r"|(?<![\d.])(?:\+?62[\s-]?|0)8[\d\s-]{7,13}\d(?!\d)"
    r"|[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"
)
_PERSONAL_NAME = re.compile(
    r"(^|_)(nik|npwp|no_?kk|kk|telp|telepon|telpon|phone|hp|no_hp|email|surel|nama|name"
    r"|alamat|address|tgl_lahir|tanggal_lahir|birth.*|rekening|no_rek.*|paspor|passport)($|_)",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"token|secret|password|passwd|api_?key|sandi", re.IGNORECASE)
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,14})")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})\.\d{1,9}")
_MAX_ENUM = 8


class FoundField(msgspec.Struct, frozen=True):
    """One field of the sample. ``values`` are masked; ``choices`` a short closed list."""

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
    mixed: bool = False


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
    found = [_field(path, values, len(rows)) for path, values in columns.items()]
    return _with_one_key(found)


def _leaves(row: Mapping[str, Any], way: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if not name or "." in name:
            continue
        if isinstance(value, dict) and value and len(way) < 3:
            yield from _leaves(value, (*way, name))
        else:
            yield ".".join((*way, name)), value


def _field(path: str, values: Sequence[Any], row_count: int) -> FoundField:
    filled = [value for value in values if value not in (None, "")]
    kinds = _kinds(path, filled)
    texts = [_as_text(value) for value in filled]
    is_unique = len(set(texts)) == len(texts) == row_count > 1
    is_personal = _is_personal(path, texts)
    kind = _one_kind(kinds)
    return FoundField(
        path=path,
        type=kind,
        filled=len(filled),
        empty=row_count - len(filled),
        is_unique=is_unique,
        is_key=False,
        is_personal=is_personal,
        max_length=max((len(text) for text in texts), default=0),
        values=[mask(path, text) for text in dict.fromkeys(texts)][:SHOWN],
        choices=_choices(kind, texts) if not is_personal else [],
        mixed=len({_json_kind(value) for value in filled}) > 1,
    )


def _kinds(path: str, filled: Sequence[Any]) -> set[str]:
    """The types of values. A code that is sent as a text stays one: 14.10 is no number."""
    is_code = _KEY_NAME.search(path.rpartition(".")[2]) is not None
    if is_code and all(isinstance(value, str) for value in filled):
        return {"text"}
    return {_kind(value) for value in filled}


def _json_kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _with_one_key(fields: list[FoundField]) -> list[FoundField]:
    """Mark the likeliest key: unique, of a key's name, the first of them."""
    unique = [
        each for each in fields if each.is_unique and each.type in {"text", "integer"}
    ]
    if not unique:
        return fields
    named = [each for each in unique if _KEY_NAME.search(each.path.rpartition(".")[2])]
    key = (named or unique)[0]
    return [msgspec.structs.replace(each, is_key=each is key) for each in fields]


def _kind(value: Any) -> str:
    """The type a value asks for. Digits with a zero in front, or many, are a text."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if abs(value) < 10**15 else "text"
    if isinstance(value, float):
        return "number"
    return _kind_of_text(value) if isinstance(value, str) else "text"


def _kind_of_text(text: str) -> str:
    if _INTEGER.fullmatch(text):
        return "integer"
    if _NUMBER.fullmatch(text):
        return "number"
    if _reads(date.fromisoformat, text, 10):
        return "date"
    if len(text) > 10 and text[4:5] == "-" and _reads(datetime.fromisoformat, text, 0):
        return "timestamp"
    return "text"


def _reads(read: Any, text: str, length: int) -> bool:
    if length and len(text) != length:
        return False
    try:
        read(text)
    except ValueError:
        return False
    return True


def _one_kind(kinds: set[str]) -> str:
    """The type that holds all of these."""
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds and kinds <= {"integer", "number"}:
        return "number"
    if kinds and kinds <= {"date", "timestamp"}:
        return "timestamp"
    return "text"


def _choices(kind: str, texts: Sequence[str]) -> list[str]:
    """A closed list of values, when few of them come again and again."""
    different = sorted(set(texts))
    few = 1 < len(different) <= _MAX_ENUM and len(texts) >= 3 * len(different)
    return different if kind == "text" and few and max(map(len, different)) <= 40 else []


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


# --- masking ------------------------------------------------------------------------


def _is_personal(path: str, texts: Sequence[str]) -> bool:
    name = path.rpartition(".")[2]
    return bool(_PERSONAL_NAME.search(name)) or any(map(_PERSONAL.search, texts))


def mask(path: str, text: str) -> str:
    """A value as a page may show it: no number of a person, no name, no key."""
    name = path.rpartition(".")[2]
    if _SECRET_NAME.search(name):
        return "••••••"
    if _PERSONAL_NAME.search(name):
        return _dotted(text)
    return _PERSONAL.sub(lambda match: _dotted(match[0]), text)[:200]


def _dotted(text: str) -> str:
    """The first and last signs of a text, its length kept."""
    if len(text) <= 4:
        return "•" * len(text)
    return (text[:2] + "•" * (len(text) - 4) + text[-2:])[:60]


def masked(value: Any, path: str = "", depth: int = 0) -> Any:
    """A decoded value with every text in it masked; long lists are cut."""
    if depth > 2 * MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {
            str(name): masked(each, str(name), depth + 1)
            for name, each in list(value.items())[:60]
        }
    if isinstance(value, list):
        rest = ["…"] if len(value) > SHOWN else []
        return [masked(each, path, depth + 1) for each in value[:SHOWN]] + rest
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["} and len(value) > 40:
        return _masked_inner(value, depth)
    if value is None or isinstance(value, bool):
        return value
    text = mask(path, _as_text(value))
    return text if isinstance(value, str) or text != _as_text(value) else value


def _masked_inner(text: str, depth: int) -> str:
    """A JSON text inside JSON: masked as what it holds, or as a text when it holds nothing."""
    try:
        inner = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return mask("", text)
    return msgspec.json.encode(masked(inner, "", depth + 1)).decode()


def masked_json(value: Any) -> str:
    """A decoded value, masked, as readable JSON."""
    packed = msgspec.json.encode(masked(value))
    return msgspec.json.format(packed, indent=2).decode()
