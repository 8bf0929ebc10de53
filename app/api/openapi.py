"""What a key may know about its data: listing, dictionary, OpenAPI 3.1; from the contracts."""

from typing import Any

from app.api.access import Access, Opened
from app.api.ask import (
    DEFAULT_LIMIT,
    FORMATS,
    MAX_FILTERS,
    MAX_IN,
    MAX_LENGTH,
    MAX_LIMIT,
    MAX_NUMBER,
    MAX_SORTS,
    OPERATORS,
    TOKEN,
)
from app.api.errors import TITLES
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType

_TYPES: dict[FieldType, dict[str, Any]] = {
    FieldType.TEXT: {"type": "string"},
    FieldType.INTEGER: {"type": "integer", "format": "int64"},
    FieldType.NUMBER: {"type": "number"},
    FieldType.BOOLEAN: {"type": "boolean"},
    FieldType.DATE: {"type": "string", "format": "date"},
    FieldType.TIMESTAMP: {"type": "string", "format": "date-time"},
}
_ORDERED = {"gt", "gte", "lt", "lte"}


def listing(access: Access) -> dict[str, Any]:
    """Return the datasets that are open to a key."""
    return {
        "client": access.client,
        "datasets": [
            _summary(each)
            for each in sorted(access.opened.values(), key=lambda each: each.slug)
        ],
    }


def _summary(opened: Opened) -> dict[str, Any]:
    return {
        "slug": opened.slug,
        "title": opened.title,
        "agency": opened.agency,
        # How many of them an agreement opens is not known without counting.
        "rows": opened.row_count if opened.chosen is None else None,
        "published_at": opened.published_at,
        "version": opened.version,
        "agreement": opened.agreement,
        "valid_until": opened.valid_until,
        "sample": opened.sample,
        "records": f"/api/v1/datasets/{opened.slug}/records",
    }


def dictionary(opened: Opened) -> dict[str, Any]:
    """Return a dataset's fields, those too that exist but are hidden from this key."""
    return {
        **_summary(opened),
        "description": opened.description,
        "key": [each.name for each in opened.keys if each in opened.fields],
        "fields": [
            {**_described(each), "masked": opened.is_masked(each)}
            for each in opened.fields
        ],
        "hidden": [
            {
                "name": each.name,
                "label": each.label,
                "classification": each.classification,
            }
            for each in opened.hidden
        ],
    }


def _described(each: FieldSpec) -> dict[str, Any]:
    return {
        "name": each.name,
        "label": each.label,
        "type": each.type,
        "key": each.is_key,
        "required": each.required,
        "classification": each.classification,
        "definition": each.definition,
        "unit": each.unit,
        "example": each.example,
        "allowed_values": list(each.allowed_values),
        "schema": _schema(each),
    }


def _schema(each: FieldSpec) -> dict[str, Any]:
    """Return the JSON Schema of a field's value; empty values are null."""
    schema = dict(_TYPES[each.type])
    if not each.is_key:
        schema["type"] = [schema["type"], "null"]
    text = each.label + (f". {each.definition}" if each.definition else "")
    schema["description"] = text + (f" ({each.unit})" if each.unit else "")
    if each.type is FieldType.TEXT:
        _bound_text(each, schema)
    if each.type in {FieldType.INTEGER, FieldType.NUMBER}:
        kind = int if each.type is FieldType.INTEGER else float
        bounds = (("minimum", each.minimum), ("maximum", each.maximum))
        schema |= {name: kind(value) for name, value in bounds if value}
    return schema


def _bound_text(each: FieldSpec, schema: dict[str, Any]) -> None:
    bounds = (("minLength", each.min_length), ("maxLength", each.max_length))
    schema |= {name: value for name, value in bounds if value is not None}
    if each.pattern:
        schema["pattern"] = f"^(?:{each.pattern})$"
    if each.allowed_values:
        schema["enum"] = [*each.allowed_values, *([] if each.is_key else [None])]


def _record_schema(opened: Opened) -> dict[str, Any]:
    masked = {"type": ["string", "number", "boolean", "null"], "description": "masked"}
    return {
        "type": "object",
        "description": opened.title,
        "properties": {
            each.name: masked if opened.is_masked(each) else _schema(each)
            for each in opened.fields
        }
        | {"_deleted": {"type": "boolean", "description": "Only in answers to since"}},
        "additionalProperties": False,
    }


def document(access: Access) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of everything that a key may call."""
    paths: dict[str, Any] = {
        "/api/v1/datasets": {"get": _reading("listDatasets", "Himpunan data yang terbuka bagi kunci ini", _json({"type": "object"}))},
        "/api/v1/openapi.json": {"get": _reading("openapi", "Dokumen ini", _json({"type": "object"}))},
    }  # fmt: skip
    schemas: dict[str, Any] = {"Problem": _problem_schema()}
    for slug, opened in sorted(access.opened.items()):
        base = f"/api/v1/datasets/{slug}"
        schemas[slug] = _record_schema(opened)
        paths[base] = {
            "get": _reading(f"describe_{slug}", f"Kamus data: {opened.title}", _json({"type": "object"}))
        }  # fmt: skip
        paths[f"{base}/records"] = {"get": _records(opened)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Simpul: API pertukaran data",
            "version": "1",
            "description": "Dibangkitkan dari kontrak data yang terbuka bagi kunci ini.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"header": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reading(
    ident: str, summary: str, content: dict[str, Any], parameters: Any = ()
) -> dict[str, Any]:
    problems = {
        str(status): {
            "description": title,
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"}
                }
            },
        }
        for status, title in TITLES.items()
    }
    return {
        "operationId": ident,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": {"description": "OK", "content": content}, **problems},
    }


def _records(opened: Opened) -> dict[str, Any]:
    page = {
        "type": "object",
        "required": ["data", "dataset", "published_at", "page"],
        "properties": {
            "data": {
                "type": "array",
                "items": {"$ref": f"#/components/schemas/{opened.slug}"},
            },
            "dataset": {"const": opened.slug},
            "published_at": {"type": ["string", "null"], "format": "date-time"},
            "page": {
                "type": "object",
                "required": ["limit", "since"],
                "properties": {
                    "limit": {"type": "integer"},
                    "next": {"type": ["string", "null"]},
                    "more": {"type": "boolean"},
                    "since": {"type": "string"},
                },
            },
            "count": {"type": "object"},
        },
    }
    content = _json(page) | {
        "application/x-ndjson": {"schema": {"type": "string"}},
        "text/csv": {"schema": {"type": "string"}},
    }
    found = _reading(
        f"records_{opened.slug}", f"Data: {opened.title}", content, _parameters(opened)
    )
    found["responses"]["304"] = {"description": "ETag masih berlaku"}
    return found


def _parameters(opened: Opened) -> list[dict[str, Any]]:
    names = [each.name for each in opened.fields]
    open_names = [each.name for each in opened.fields if not opened.is_masked(each)]
    order = [*open_names, *(f"-{name}" for name in open_names)]
    token = {"type": "string", "pattern": f"^({TOKEN})?$"}
    return [
        _list("fields", "Bidang yang diminta", {"items": {"enum": names}}),
        _list("sort", "Urutan; tanda - berarti menurun", {"items": {"enum": order}, "maxItems": MAX_SORTS}),
        _parameter("limit", "Banyaknya baris", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
        _parameter("after", "Token halaman berikutnya (page.next)", token),
        _parameter("since", "Token perubahan (page.since)", token),
        _parameter("count", "Hitung baris", {"enum": ["estimated", "exact"]}),
        _parameter("format", "Bentuk jawaban", {"enum": list(FORMATS)}),
        _filters(opened),
    ]  # fmt: skip


def _filters(opened: Opened) -> dict[str, Any]:
    """Return the filters as one parameter: each property is a parameter of its own name."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "maxProperties": MAX_FILTERS,
        "properties": {
            f"{each.name}__{operator}": {
                **_operand(each, operator),
                "description": f"{each.label}: {operator}",
            }
            for each in opened.fields
            if not opened.is_masked(each)
            for operator in OPERATORS
            if _fits(each, operator)
        },
    }
    found = _parameter("filter", "Saringan: bidang__operator=nilai", schema)
    return {**found, "style": "form", "explode": True}


def _fits(each: FieldSpec, operator: str) -> bool:
    if operator in {"contains", "startswith"}:
        return each.type is FieldType.TEXT
    return operator not in _ORDERED or each.type is not FieldType.BOOLEAN


_TEXT = r"[^,\u0000]{0,%s}"
_PARTS = {
    FieldType.TEXT: _TEXT % 40,
    FieldType.INTEGER: "-?[0-9]{1,18}",
    FieldType.NUMBER: r"-?[0-9]{1,20}(\.[0-9]{1,10})?",
    FieldType.BOOLEAN: "(true|false)",
    FieldType.DATE: "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
    FieldType.TIMESTAMP: "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z",
}


def _operand(each: FieldSpec, operator: str) -> dict[str, Any]:
    """Return the schema of a value. A list's pattern is narrower than what is answered."""
    if operator == "isnull":
        return {"type": "boolean"}
    if operator == "in":
        part = _PARTS[each.type]
        return {"type": "string", "pattern": f"^{part}(,{part}){{0,{MAX_IN - 1}}}$"}
    bounds: dict[FieldType, dict[str, Any]] = {
        FieldType.TEXT: {"maxLength": MAX_LENGTH, "pattern": r"^[^\u0000]*$"},
        FieldType.INTEGER: {"minimum": -(2**63), "maximum": 2**63 - 1},
        FieldType.NUMBER: {"minimum": -float(MAX_NUMBER), "maximum": float(MAX_NUMBER)},
    }
    return _TYPES[each.type] | bounds.get(each.type, {})


def _parameter(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _list(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "array", "minItems": 1, **schema}
    return {**_parameter(name, text, schema), "style": "form", "explode": False}


def _problem_schema() -> dict[str, Any]:
    texts = ("type", "code", "title", "title_en", "detail", "detail_en", "request_id")
    return {
        "type": "object",
        "required": [*texts, "status"],
        "properties": {name: {"type": "string"} for name in texts}
        | {"status": {"type": "integer"}},
    }
