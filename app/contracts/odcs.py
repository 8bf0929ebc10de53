"""Contracts as Open Data Contract Standard v3.1 (YAML): written whole, read with care. Pure.

What the standard has a place for goes there; what it has none for stands in
``customProperties`` under a name that begins with ``simpul``. Of a file of somebody else's
all that is not taken over is named.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from app.contracts.field_rules import is_pattern
from app.contracts.fields import FieldSpec
from app.contracts.rules import MAX_FIELDS
from app.contracts.states import (
    Classification,
    DatasetKind,
    FieldType,
    LoadMode,
    VersionStatus,
)
from app.contracts.terms import (
    MAX_DESCRIPTION,
    MAX_TITLE,
    Around,
    Findings,
    Reader,
    Taken,
    Terms,
    Words,
    blame_twice,
    words_for,
)
from app.core.words import message_id

API_VERSION = "v3.1.0"
_READ_VERSIONS = re.compile(r"v3\.\d+\.\d+")
_HEAD = (
    "# Kontrak data menurut Open Data Contract Standard v3.1.0 (Bitol), ditulis oleh Simpul.\n"
    "# Ubah seperlunya, lalu kirim kembali: perubahannya ditunjukkan dahulu dan menjadi draf.\n"
)
WORDS = Words(
    types={
        "string": FieldType.TEXT,
        "integer": FieldType.INTEGER,
        "number": FieldType.NUMBER,
        "boolean": FieldType.BOOLEAN,
        "date": FieldType.DATE,
        "timestamp": FieldType.TIMESTAMP,
    },
    classes={str(each): each for each in Classification}
    | {
        "public": Classification.PUBLIC,
        "internal": Classification.RESTRICTED,
        "restricted": Classification.RESTRICTED,
        "confidential": Classification.RESTRICTED,
        "personal": Classification.PERSONAL,
        "sensitive": Classification.SENSITIVE,
    },
    kinds={str(each): each for each in DatasetKind},
    modes={str(each): each for each in LoadMode},
    states={str(each): each for each in VersionStatus}
    | {"proposed": VersionStatus.DRAFT, "deprecated": VersionStatus.ACTIVE},
    flags={"true": True, "false": False},
)
_TYPES = words_for(WORDS.types)
_PHYSICAL = {
    FieldType.TEXT: "text",
    FieldType.INTEGER: "bigint",
    FieldType.NUMBER: "numeric",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date",
    FieldType.TIMESTAMP: "timestamptz",
}
_LENGTHS = {"min_length": "minLength", "max_length": "maxLength"}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_LIKE_NUMBER = re.compile(r"[-+]?\.?[0-9]")
_FROM_AGREEMENTS = message_id("Who receives the data stands in agreements alone.")
_FROM_SCHEDULES = message_id("When it is pulled stands in schedules alone.")
_FROM_SOURCES = message_id("Where it is pulled from stands in sources alone.")
_ELSEWHERE = {
    "roles": _FROM_AGREEMENTS,
    "slaProperties": _FROM_SCHEDULES,
    "servers": _FROM_SOURCES,
}


# Writing -------------------------------------------------------------------------------


class _Number(str):
    """A number that is written exactly as it stands, digit by digit."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes plain values, never by anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent_number(dumper: yaml.SafeDumper, value: _Number) -> yaml.ScalarNode:
    kind = "int" if _INTEGER.fullmatch(value) else "float"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", str(value))


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Quote also what readers of a newer YAML than the library's take for a number."""
    style = "'" if _LIKE_NUMBER.match(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(_Number, _represent_number)
_Dumper.add_representer(str, _represent_text)


def write(terms: Terms, around: Around = Around()) -> bytes:  # noqa: B008 - a plain empty tuple
    """Return a contract as a file; the same contract gives the same bytes."""
    text = yaml.dump(
        _tree(terms, around),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
    return (_HEAD + text).encode()


def _tree(terms: Terms, around: Around) -> dict[str, Any]:
    return _filled(
        apiVersion=API_VERSION,
        kind="DataContract",
        id=terms.ident,
        name=terms.title,
        version=f"{terms.number or 0}.0.0",
        status=str(terms.status or VersionStatus.DRAFT),
        tenant=terms.agency,
        description=_filled(purpose=terms.description),
        schema=[_schema(terms)],
        slaProperties=[_sla(*each) for each in around.schedules],
        roles=[_role(each) for each in around.receivers],
        customProperties=_customs(
            simpulAgencyName=terms.agency_name,
            simpulBasis=terms.basis,
            simpulNote=terms.note,
            simpulMaxVanishedPercent=terms.max_vanished_percent,
            simpulMaxRejectedPercent=terms.max_rejected_percent,
        ),
        contractCreatedTs=around.created_at,
    ) | {"id": terms.ident}  # the standard wants it, also where there is none


def _filled(**values: Any) -> dict[str, Any]:
    """Return what is there; 0 and no are something, an empty text or list is nothing."""
    return {
        key: value for key, value in values.items() if value not in (None, "", [], {})
    }


def _customs(**values: Any) -> list[dict[str, Any]]:
    return [{"property": key, "value": each} for key, each in _filled(**values).items()]


def _schema(terms: Terms) -> dict[str, Any]:
    keys = [each.name for each in terms.fields if each.is_key]
    return {"name": terms.slug} | _filled(
        logicalType="object",
        physicalType="table",
        customProperties=_customs(
            simpulKind=terms.kind and str(terms.kind),
            simpulLoadMode=terms.load_mode and str(terms.load_mode),
        ),
        properties=[_property(each, keys) for each in terms.fields],
    )


def _property(spec: FieldSpec, keys: Sequence[str]) -> dict[str, Any]:
    options = _options(spec)
    return {"name": spec.name} | _filled(
        businessName=spec.label,
        logicalType=_TYPES[spec.type],
        physicalType=_PHYSICAL[spec.type],
        description=spec.definition,
        primaryKey=spec.is_key or None,
        primaryKeyPosition=keys.index(spec.name) + 1 if spec.is_key else None,
        required=spec.required,
        classification=str(spec.classification),
        examples=[spec.example] if spec.example else None,
        logicalTypeOptions=options,
        quality=[_values_rule(spec)] if spec.allowed_values else None,
        customProperties=_customs(
            simpulSourcePath=spec.source_path,
            simpulUnit=spec.unit,
            **_unfit(spec, options),
        ),
    )


def _options(spec: FieldSpec) -> dict[str, Any]:
    """Return the rules for which the standard has a place with this type."""
    if spec.type is FieldType.TEXT:
        return _filled(
            minLength=spec.min_length,
            maxLength=spec.max_length,
            pattern=_anchored(spec.pattern),
        )
    return _filled(
        minimum=_bound(spec.type, spec.minimum), maximum=_bound(spec.type, spec.maximum)
    )


def _bound(kind: FieldType, text: str) -> str | None:
    if kind in {FieldType.DATE, FieldType.TIMESTAMP}:
        return text
    wanted = {FieldType.INTEGER: _INTEGER, FieldType.NUMBER: _NUMBER}.get(kind)
    return _Number(text) if wanted and wanted.fullmatch(text) else None


def _anchored(pattern: str) -> str | None:
    """Return a pattern for the whole text as the standard means it: found anywhere."""
    return f"^(?:{pattern})$" if pattern and is_pattern(pattern) else None


def _unanchored(pattern: str) -> str:
    """Undo ``_anchored``; a pattern of somebody else's stays as it is."""
    inner = pattern.removeprefix("^(?:").removesuffix(")$")
    is_ours = pattern == f"^(?:{inner})$" and is_pattern(inner)
    return inner if is_ours else pattern


def _unfit(spec: FieldSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of an unfinished draft that the standard cannot hold with this type."""
    return _filled(
        simpulMinLength=spec.min_length if "minLength" not in options else None,
        simpulMaxLength=spec.max_length if "maxLength" not in options else None,
        simpulMinimum=spec.minimum if "minimum" not in options else None,
        simpulMaximum=spec.maximum if "maximum" not in options else None,
        simpulPattern=spec.pattern if "pattern" not in options else None,
    )


def _values_rule(spec: FieldSpec) -> dict[str, Any]:
    return {
        "type": "library",
        "metric": "invalidValues",
        "arguments": {"validValues": list(spec.allowed_values)},
        "mustBe": 0,
    }


def _role(each: Any) -> dict[str, Any]:
    return _filled(
        role=each.agency,
        description=each.purpose,
        access="read",
        customProperties=_customs(
            simpulAgencyName=each.agency_name,
            simpulAgreement=each.agreement,
            simpulFields=list(each.fields),
            simpulUntil=each.until,
        ),
    )


def _sla(cron: str, zone: str) -> dict[str, Any]:
    return {
        "property": "frequency",
        "value": cron,
        "description": zone,
        "scheduler": "cron",
        "schedule": cron,
    }


# Reading -------------------------------------------------------------------------------


class _Map:
    """A map on its way in: what nobody has asked for in the end is not taken over.

    ``kind`` is its place without the numbers: what lies in each of many is told once.
    """

    def __init__(self, raw: Any, place: str, found: Findings) -> None:
        self.place, self._found = place, found
        self._raw = dict(raw) if isinstance(raw, dict) else {}
        if raw is not None and not isinstance(raw, dict):
            found.blame(place, "Here stand named values, each as “name: value”.")

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def text(self, key: str) -> str | None:
        """Take a scalar as it is written."""
        raw = self._raw.pop(key, None)
        if isinstance(raw, dict | list):
            self._found.blame(self.at(key), "Here stands one value, no list and no map.")
            return None
        return None if raw is None else str(raw)

    def map(self, key: str) -> "_Map":
        return _Map(self._raw.pop(key, None), self.at(key), self._found)

    def list(self, key: str) -> list[Any]:
        raw = self._raw.pop(key, None)
        if raw is not None and not isinstance(raw, list):
            self._found.blame(self.at(key), "Here stands a list, each value after a “-”.")
        return raw if isinstance(raw, list) else []

    def customs(self) -> "_Map":
        """Take ``customProperties`` as a map of their names."""
        named: dict[str, Any] = {}
        for at, each in enumerate(self.list("customProperties")):
            pair = _Map(each, f"{self.at('customProperties')}[{at}]", self._found)
            name = pair.text("property") or ""
            if name in named:
                self._found.blame(
                    pair.place, "“%(what)s” stands here twice.", what=name[:80]
                )
            named[name] = pair.raw("value")
            pair.close()
        return _Map(named, self.at("customProperties"), self._found)

    def raw(self, key: str) -> Any:
        return self._raw.pop(key, None)

    def put_back(self, key: str, rest: Any) -> None:
        """Leave what of a value was not taken."""
        self._raw[key] = rest

    def same(self, key: str, wanted: str) -> None:
        """Take what says what we would say anyway."""
        if self._raw.get(key) == wanted:
            del self._raw[key]

    def close(self) -> None:
        """Name what is left over, as far as it says something."""
        for key, value in self._raw.items():
            if value not in (None, "", [], {}):
                place = self.at(key)
                reason = _ELSEWHERE.get(place)
                extra = {"message": reason} if reason else {}
                self._found.leave(place, kind=re.sub(r"\[\d+\]", "[]", place), **extra)


def read(tree: Any) -> Taken:
    """Return what a file says; ``tree`` is that of ``plain_yaml``."""
    found = Findings()
    reader = Reader(WORDS, found)
    top = _Map(tree, "", found)
    _require_standard(top, found)
    customs = top.customs()
    about = top.map("description")
    schema = _first_schema(top, found)
    kinds = schema.customs()
    schema.same("logicalType", "object")
    schema.same("physicalType", "table")
    top.text("contractCreatedTs")
    terms = Terms(
        ident=reader.text("id", top.text("id")),
        title=reader.text("name", top.text("name"), MAX_TITLE),
        number=_number(top.text("version")),
        status=reader.choice("status", top.text("status"), WORDS.states),
        agency=reader.text("tenant", top.text("tenant")),
        agency_name=reader.text("simpulAgencyName", customs.text("simpulAgencyName")),
        description=reader.text(
            "description.purpose", about.text("purpose"), MAX_DESCRIPTION
        ),
        basis=reader.text("simpulBasis", customs.text("simpulBasis")),
        note=reader.text("simpulNote", customs.text("simpulNote")),
        **{
            f"max_{name.lower()}_percent": reader.count(
                f"simpulMax{name}Percent", customs.text(f"simpulMax{name}Percent"), 100
            )
            for name in ("Vanished", "Rejected")
        },
        slug=reader.text(schema.at("name"), schema.text("name")),
        kind=reader.choice(kinds.at("simpulKind"), kinds.text("simpulKind"), WORDS.kinds),
        load_mode=reader.choice(
            kinds.at("simpulLoadMode"), kinds.text("simpulLoadMode"), WORDS.modes
        ),
        fields=_fields(schema, reader, found),
    )
    for each in (customs, about, kinds, schema, top):
        each.close()
    return Taken(terms, found.wrong, found.left)


def _require_standard(top: _Map, found: Findings) -> None:
    if top.text("kind") != "DataContract":
        found.blame("kind", "This is no data contract: kind must be DataContract.")
    version = top.text("apiVersion") or ""
    if not _READ_VERSIONS.fullmatch(version):
        found.blame(
            "apiVersion",
            "Only version 3 of the standard is read: write it as %(p)s.",
            p=API_VERSION,
        )


def _number(text: str | None) -> int | None:
    """Return the first part of a version, for us the whole of it."""
    first = re.match(r"v?([0-9]{1,6})(?![0-9])", text or "")
    return int(first[1]) or None if first else None


def _first_schema(top: _Map, found: Findings) -> _Map:
    """Return the one table of the contract; of several the first, the others are named."""
    schemas = top.list("schema")
    if not schemas:
        found.blame("schema", "The file describes no table: schema is missing or empty.")
    for at in range(1, len(schemas)):
        found.leave(
            f"schema[{at}]",
            message_id("A contract is about one table: the first one is taken."),
            kind="schema",
        )
    return _Map(schemas[0] if schemas else None, "schema[0]", found)


def _fields(schema: _Map, reader: Reader, found: Findings) -> tuple[FieldSpec, ...]:
    raws = schema.list("properties")
    if len(raws) > MAX_FIELDS:
        found.blame(
            schema.at("properties"), "A contract has at most %(n)s fields.", n=MAX_FIELDS
        )
    place = schema.at("properties")
    specs: list[FieldSpec] = []
    for at, raw in enumerate(raws[:MAX_FIELDS]):
        given = _Map(raw, f"{place}[{at}]", found)
        specs.append(_field(given, reader))
        keys = sum(each.is_key for each in specs)
        given.same("primaryKeyPosition", str(keys) if specs[-1].is_key else "-1")
        given.close()
    blame_twice(specs, lambda at: f"{place}[{at}].name", found)
    return tuple(specs)


def _field(raw: _Map, reader: Reader) -> FieldSpec:
    """Read a field; what is left of ``raw`` afterwards is not taken over."""
    options, customs = raw.map("logicalTypeOptions"), raw.customs()
    pattern = options.text("pattern")
    texts = {
        "name": raw.text("name"),
        "label": raw.text("businessName"),
        "type": raw.text("logicalType"),
        "definition": raw.text("description"),
        "is_key": raw.text("primaryKey"),
        "required": raw.text("required"),
        "classification": raw.text("classification"),
        "example": _example(raw),
        "source_path": customs.text("simpulSourcePath"),
        "unit": customs.text("simpulUnit"),
        "min_length": options.text("minLength") or customs.text("simpulMinLength"),
        "max_length": options.text("maxLength") or customs.text("simpulMaxLength"),
        "minimum": options.text("minimum") or customs.text("simpulMinimum"),
        "maximum": options.text("maximum") or customs.text("simpulMaximum"),
        "pattern": _unanchored(pattern) if pattern else customs.text("simpulPattern"),
    }
    places = {
        column: f"{raw.place} ({texts['name'] or '?'}).{key}" for column, key in _KEYS
    }
    spec = reader.spec(texts, _allowed(raw), lambda name: places.get(name, raw.place))
    raw.same("physicalType", _PHYSICAL[spec.type])
    for key, says_nothing in _DEFAULTS:
        raw.same(key, says_nothing)
    options.close()
    customs.close()
    return spec


def _example(raw: _Map) -> str | None:
    """Take the first example; the others are named."""
    examples = [each for each in raw.list("examples") if isinstance(each, str)]
    raw.put_back("examples", examples[1:])
    return next(iter(examples), None)


def _allowed(raw: _Map) -> list[str]:
    """Take the rule that lists the allowed values; other rules of quality are named."""
    rules = raw.list("quality")
    ours = next((each for each in rules if _listed(each)), None)
    raw.put_back("quality", [each for each in rules if each is not ours])
    return _listed(ours) or []


def _listed(rule: Any) -> list[str] | None:
    """Return the values of a rule that no value but these may come; None for another rule."""
    match rule:
        case {
            "metric": "invalidValues",
            "arguments": {"validValues": [*values]},
            "mustBe": "0",
        } if all(isinstance(each, str) for each in values):
            return values
    return None


_DEFAULTS = (
    ("unique", "false"), ("partitioned", "false"), ("partitionKeyPosition", "-1"),
    ("criticalDataElement", "false"),
)  # fmt: skip
_KEYS = (
    ("name", "name"), ("label", "businessName"), ("type", "logicalType"),
    ("definition", "description"), ("is_key", "primaryKey"), ("required", "required"),
    ("classification", "classification"), ("example", "examples"),
    ("source_path", "simpulSourcePath"), ("unit", "simpulUnit"),
    ("min_length", "logicalTypeOptions.minLength"),
    ("max_length", "logicalTypeOptions.maxLength"),
    ("minimum", "logicalTypeOptions.minimum"), ("maximum", "logicalTypeOptions.maximum"),
    ("pattern", "logicalTypeOptions.pattern"), ("allowed_values", "quality"),
)  # fmt: skip
