"""Ready settings for the services that are met most, and how their answers are recognised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.words import message_id


@dataclass(frozen=True, slots=True)
class Preset:
    """``settings`` as a source keeps them; ``knows`` recognises an answer's shape."""

    name: str
    label: str
    settings: Mapping[str, Any]
    knows: Callable[[Any], bool] = field(default=lambda _answer: False)


def _has(answer: Any, *names: str) -> bool:
    return isinstance(answer, dict) and all(name in answer for name in names)


def _is_bps(answer: Any) -> bool:
    return _has(answer, "status", "data-availability")


def _is_ckan(answer: Any) -> bool:
    return _has(answer, "success", "result") and _has(answer["result"], "records")


def _is_length_aware(answer: Any) -> bool:
    return _has(answer, "data", "current_page", "total", "per_page")


def _is_simple(answer: Any) -> bool:
    return _has(answer, "data", "current_page", "next_page_url")


def _is_resource(answer: Any) -> bool:
    return _has(answer, "data", "meta", "links") and _has(answer["meta"], "current_page")


def _is_datasette(answer: Any) -> bool:
    return _has(answer, "rows", "next_url", "filtered_table_rows_count")


_PAGES = {
    "paging": "page",
    "page_param": "page",
    "size_param": "per_page",
    "first_page": 1,
}

PRESETS = (
    Preset(
        "bps",
        message_id("BPS Web API"),
        {
            "auth": "path", "paging": "page", "paging_in": "path", "rows_path": "data.1",
            "total_path": "data.0.total", "success_path": "status", "success_value": "OK",
            "blank_is_empty": True, "rate_per_second": 0.5,
        },
        _is_bps,
    ),
    Preset(
        "ckan",
        message_id("CKAN (datastore_search)"),
        {
            "paging": "offset", "offset_param": "offset", "limit_param": "limit",
            "page_size": 1000, "rows_path": "result.records", "total_path": "result.total",
            "success_path": "success", "success_value": "true",
        },
        _is_ckan,
    ),
    Preset(
        "jabar",
        message_id("Open Data Jabar"),
        {
            "paging": "offset", "offset_param": "skip", "limit_param": "limit",
            "page_size": 1000, "rows_path": "data",
        },
    ),
    Preset(
        "isb",
        message_id("LKPP ISB"),
        {
            "paging": "offset", "offset_param": "start", "limit_param": "length",
            "page_size": 1000,
        },
    ),
    Preset(
        "sipd",
        message_id("SIPD"),
        {
            "auth": "query", "auth_name": "_apitoken", "failure_path": "log",
            "failure_text": "ERROR:", "rows_path": "data",
        },
    ),
    Preset(
        "splp",
        message_id("SPLP tenant (two keys, POST)"),
        {
            "method": "POST", "auth": "bearer", "also": "header", "also_name": "Apikey",
            "paging": "page", "paging_in": "body", "page_param": "page",
            "size_param": "length", "rows_path": "data",
        },
    ),
    Preset(
        "siasn",
        message_id("SIASN (BKN)"),
        {
            "auth": "oauth2", "auth_name": "Authorization", "auth_prefix": "Bearer ",
            "also": "login", "also_name": "Auth", "also_prefix": "bearer ",
            "also_fields_kind": "form",
            "also_fields": {
                "grant_type": "password", "client_id": "", "username": "{user}",
                "password": "{key}",
            },
            "rows_path": "data",
        },
    ),
    Preset(
        "laravel",
        message_id("Laravel, with a total"),
        {**_PAGES, "rows_path": "data", "total_path": "total"},
        _is_length_aware,
    ),
    Preset(
        "laravel_resource",
        message_id("Laravel resource (meta and links)"),
        {**_PAGES, "rows_path": "data", "total_path": "meta.total"},
        _is_resource,
    ),
    Preset(
        "laravel_simple",
        message_id("Laravel, without a total"),
        {"paging": "next_url", "next_path": "next_page_url", "rows_path": "data"},
        _is_simple,
    ),
    Preset(
        "datasette",
        message_id("Datasette"),
        {
            "query": {"_shape": "objects", "_size": "max"}, "paging": "next_url",
            "next_path": "next_url", "rows_path": "rows",
        },
        _is_datasette,
    ),
    Preset(
        "inner",
        message_id("JSON text inside JSON"),
        {"inner_path": "return"},
    ),
)  # fmt: skip
_BY_NAME = {preset.name: preset for preset in PRESETS}


def preset_named(name: str) -> Preset | None:
    """Return the preset of a name, or None."""
    return _BY_NAME.get(name)


def recognised(answer: Any) -> Preset | None:
    """Return the preset whose answers look like this one, or None."""
    for preset in PRESETS:
        if preset.knows(answer):
            return preset
    return None
