"""Where the pages have papers made."""

from flask import current_app, request

from app.requests.papers import Press


def press_of_page() -> Press:
    """Return where papers are made; the address is as people reach this very page."""
    settings = current_app.extensions["simpul_settings"]
    return Press(
        home=settings.home,
        zone=settings.time_zone,
        public_url=settings.public_url or request.url_root.rstrip("/"),
        office_name=settings.office_name,
        translations=settings.home / "translations",
    )
