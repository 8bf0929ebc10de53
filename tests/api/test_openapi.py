"""The OpenAPI document: valid, of this key alone, and true to what is answered."""

import json

import jsonschema
from openapi_spec_validator import validate

from tests.api.conftest import make_client


def test_the_document_is_valid_and_every_answer_fits_it(shop):
    document = shop.get("/api/v1/openapi.json").json
    page = document["paths"][f"/api/v1/datasets/{shop.slug}/records"]["get"]
    schema = page["responses"]["200"]["content"]["application/json"]["schema"]
    schema = schema | {"components": document["components"]}

    for query in ("", "?limit=1&fields=nip", "?count=exact", "?sort=-gaji&limit=3"):
        jsonschema.Draft202012Validator(schema).validate(shop.get(query).json)

    problem = {
        "$ref": "#/components/schemas/Problem",
        "components": document["components"],
    }
    jsonschema.Draft202012Validator(problem).validate(
        json.loads(shop.get("?limit=0").data)
    )


def test_every_operator_that_is_written_down_is_answered(shop):
    document = shop.get("/api/v1/openapi.json").json
    page = document["paths"][f"/api/v1/datasets/{shop.slug}/records"]["get"]
    examples = {
        "string": "a", "integer": "1", "number": "1.5", "boolean": "true",
        "date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    (filters,) = (each for each in page["parameters"] if each["name"] == "filter")
    named = filters["schema"]["properties"]
    assert len(named) > 50
    for name, schema in named.items():
        kind = schema.get("format", schema["type"])
        value = examples.get(kind, examples[schema["type"]])
        if name.endswith("__in"):
            same = named[f"{name.removesuffix('__in')}__eq"]
            value = examples.get(same.get("format", ""), examples[same["type"]])
        answer = shop.get(f"?limit=1&{name}={value}")
        assert answer.status_code == 200, (name, answer.get_data(as_text=True))


def test_the_document_names_only_what_the_key_may_see(shop):
    _, stranger = make_client()

    document = shop.get("/api/v1/openapi.json", key=stranger)

    assert shop.slug not in document.get_data(as_text=True)
    assert "nik" not in json.dumps(
        shop.get("/api/v1/openapi.json").json["components"]["schemas"][shop.slug]
    )


def test_the_document_is_openapi_by_its_own_schema(shop):
    validate(shop.get("/api/v1/openapi.json").json)
