"""Links that leave the house: in mails, on paper; and those that must not leave it."""

import base64
import io
import re
from typing import Any

import qrcode
import qrcode.image.svg
from flask import current_app, request, url_for

# One slash and then no second one, whichever way it leans; nothing that browsers leave out.
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def is_local(address: str) -> bool:
    """Tell whether an address that a request brings along leads to a page of ours.

    Stricter than Flask-Admin, which takes ``http:evil.test`` for a path.
    """
    return _LOCAL.fullmatch(address) is not None


def public_link(endpoint: str, **values: Any) -> str:
    """Return the whole address of a page; never by what a request says of our name if set."""
    settings = current_app.extensions["simpul_settings"]
    base: str = settings.public_url or request.url_root.rstrip("/")
    return base + url_for(endpoint, **values)


def qr_image(text: str) -> str:
    """Return a picture of a text, to stand in a page itself."""
    image = qrcode.make(text, image_factory=qrcode.image.svg.SvgPathImage, border=2)
    drawn = io.BytesIO()
    image.save(drawn)
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode()
