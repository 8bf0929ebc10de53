"""Style sheets and scripts: packed, and kept by browsers until their content changes.

An address with the mark of the content (``v``) never means anything else, so a browser need
not ask again. Only these are packed: a page holds secrets beside what somebody else may have
written, and how well it packs would tell of them (BREACH).
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, current_app, request, url_for

PACKED = frozenset({"text/css", "text/javascript", "image/svg+xml"})
FOREVER = "public, max-age=31536000, immutable"


def asset(name: str, endpoint: str = "static") -> str:
    """Return the address of a file with the mark of its content."""
    blueprint = current_app.blueprints.get(endpoint.rpartition(".")[0])
    folder = (blueprint or current_app).static_folder
    if folder is None:
        raise FileNotFoundError(name)
    return url_for(endpoint, filename=name, v=_mark(Path(folder) / name))


@cache
def _mark(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


@cache
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def init_app(app: Flask) -> None:
    """Give templates the addresses, and pack what they name."""
    app.jinja_env.globals["asset"] = asset

    @app.after_request
    def pack(response: Response) -> Response:
        if not (request.endpoint or "").endswith("static") or response.status_code != 200:
            return response
        if "v" in request.args:
            response.headers["Cache-Control"] = FOREVER
        if response.mimetype in PACKED:
            response.vary.add("Accept-Encoding")
            if (
                request.accept_encodings.quality("gzip") > 0
                and "Range" not in request.headers
            ):
                response.direct_passthrough = False
                response.set_data(_packed(response.get_data()))
                response.headers["Content-Encoding"] = "gzip"
        return response
