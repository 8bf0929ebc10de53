"""Quoting for SQL that is built from contracts: the only door for generated names."""

import re

# 63 bytes is PostgreSQL's limit; 48 leaves room for our prefixes and suffixes.
MAX_NAME_LENGTH = 48
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z", re.ASCII)


def is_name(text: str) -> bool:
    """Tell whether ``text`` may become a column or table name: plain, short, lower case."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.match(text) is not None


def quote(name: str) -> str:
    """Return a quoted identifier. Accepts our own names (a leading ``_``) and field names."""
    if not is_name(name.lstrip("_")) or len(name.encode()) > 63:
        raise ValueError(f"not an identifier: {name!r}")
    return f'"{name}"'


def quote_all(names: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(quote(name) for name in names)


def literal(text: str) -> str:
    """Return a quoted string literal for DDL, where parameters are not allowed."""
    if "\0" in text:
        raise ValueError("a NUL cannot stand in SQL")
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        return " E'" + escaped.replace("\\", "\\\\") + "'"
    return f"'{escaped}'"
