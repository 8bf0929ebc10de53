"""Sets a paper in type: plain data in, a tagged PDF/A out."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import qrcode
import qrcode.image.svg
import typst

_NO_LETTER = "could not be displayed"
TEMPLATE = Path(__file__).with_name("paper.typ")


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: title of the post, name, NIP or ""."""

    title: str
    name: str
    nip: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: its heads, and its cells row by row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A section: label and value of each fact, then tables."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Rows, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that stands on a paper, in the language of the office.

    ``is_letter``: addressed ``to`` somebody; else a document with its title in the middle.
    ``verify`` is the address of the page that checks it, ``code`` what is asked for there.
    """

    government: str
    office: str
    address: str
    contact: str
    place: str
    date: str
    number: str
    title: str
    signers: tuple[Signer, ...]
    verify: str
    code: str
    is_letter: bool = False
    secrecy: str = "Biasa"
    attachments: str = "-"
    to: str = ""
    opening: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    closing: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    footer: str = ""
    qr: str = field(default="", init=False)


def set_in_type(sheet: Sheet, at: datetime, zone: str) -> bytes:
    """Return the paper as a PDF; the same data and moment give the same bytes.

    ``at`` is when it was issued, ``zone`` the office's (IANA).
    """
    offset = at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)
    data = asdict(sheet) | {"qr": qr_svg(f"{sheet.verify}?code={sheet.code}")}
    moment = at.astimezone(timezone(offset)).replace(microsecond=0)
    try:
        return _compiled(data, moment, is_archived=True)
    except typst.TypstError as error:
        if _NO_LETTER not in str(error):
            raise
        # A letter of a script that no font of ours has: PDF/A forbids what cannot be read.
        # The paper shows a box in its place, and is an ordinary PDF.
        return _compiled(data, moment, is_archived=False)


def _compiled(data: Mapping[str, Any], moment: datetime, *, is_archived: bool) -> bytes:
    """``is_archived``: as PDF/A, with tags and fonts within, to be read in fifty years."""
    made: bytes = typst.compile(
        TEMPLATE,
        root=TEMPLATE.parent,
        format="pdf",
        ignore_system_fonts=True,
        sys_inputs={"data": msgspec.json.encode(data).decode()},
        pdf_standards=["a-2a"] if is_archived else [],
        timestamp=moment,
    )
    return made


def qr_svg(text: str) -> str:
    """Return a QR code as an SVG."""
    out = io.BytesIO()
    factory = qrcode.image.svg.SvgPathImage
    qrcode.make(text, image_factory=factory, border=1).save(out)
    return out.getvalue().decode()
