"""Reading page numbers out of addresses that anybody may type."""

from flask import request

MAX_PAGE = 100_000


def page_number() -> int:
    """Return the 0-based page of the request; what is no number counts as the first."""
    text = request.args.get("page", "0")
    if not (text.isascii() and text.isdecimal()):
        return 0
    return min(int(text[:7]), MAX_PAGE)
