"""Tells what a file really is, and paints its pages; in a process of its own.

What it is called and what the browser says of it count for nothing: only what it begins
with, and whether its own parser can read all of it. The process is this module:
``python -m app.files.inspection look < FILE > JSON`` or ``… picture N < FILE > PNG``.
"""

import io
import json
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from app.core import archives, confined
from app.core.confined import RefusedHereError
from app.files.errors import FileRefusedError

MAX_PAGES = 500
MAX_PIXELS = 60_000_000
WIDTH = 1000  # of a painted page, in points
TRAILING = 1024  # so much may stand behind the end: blanks and line ends of printers


class FileKind(StrEnum):
    """What is taken, by the ending of its name."""

    PDF = "pdf"
    PNG = "png"
    JPEG = "jpg"
    DOCX = "docx"
    XLSX = "xlsx"


MEDIA_TYPES: Mapping[FileKind, str] = MappingProxyType(
    {
        FileKind.PDF: "application/pdf",
        FileKind.PNG: "image/png",
        FileKind.JPEG: "image/jpeg",
        FileKind.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        FileKind.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }
)
_MAIN_PARTS = {"word/document.xml": FileKind.DOCX, "xl/workbook.xml": FileKind.XLSX}
_MACROS = re.compile(r"vbaProject|/activeX/|/embeddings/.*\.bin", re.IGNORECASE)


class Facts(NamedTuple):
    """What a file is; ``pages`` may be painted, none of an office document."""

    kind: FileKind
    pages: int


def look(content: bytes) -> Facts:
    """Return what a file is; raises ``FileRefusedError``."""
    if not content:
        raise FileRefusedError("empty")
    found = json.loads(_in_child(["look"], content))
    return Facts(FileKind(found["kind"]), found["pages"])


def picture(content: bytes, page: int) -> bytes:
    """Return a page as a PNG; raises ``FileRefusedError``."""
    return _in_child(["picture", str(page)], content)


def _in_child(arguments: list[str], content: bytes) -> bytes:
    try:
        return confined.run("app.files.inspection", arguments, content)
    except RefusedHereError as error:
        raise FileRefusedError(error.why, error.what) from None


# In the process of its own -------------------------------------------------------------


def looked(content: bytes) -> Facts:
    if content.startswith(b"%PDF-"):
        return Facts(FileKind.PDF, _look_at_pdf(content))
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _look_at_picture(content, FileKind.PNG, "PNG", (b"IEND", 8))
    if content.startswith(b"\xff\xd8\xff"):
        return _look_at_picture(content, FileKind.JPEG, "JPEG", (b"\xff\xd9", 2))
    if content.startswith(b"PK\x03\x04"):
        return Facts(_look_at_archive(content), 0)
    raise RefusedHereError("old" if content.startswith(b"\xd0\xcf\x11\xe0") else "kind")


def _look_at_pdf(content: bytes) -> int:
    from pypdfium2 import raw

    _require_end(content, b"%%EOF", 5)
    document = opened_pdf(content)
    if raw.FPDFDoc_GetJavaScriptActionCount(document) > 0:
        raise RefusedHereError("script")
    if raw.FPDFDoc_GetAttachmentCount(document) > 0:
        raise RefusedHereError("script")
    pages = len(document)
    if pages > MAX_PAGES:
        raise RefusedHereError("pages", str(MAX_PAGES))
    if not pages:
        raise RefusedHereError("broken")
    return pages


def opened_pdf(content: bytes) -> Any:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
        document.init_forms()
    except pypdfium2.PdfiumError as error:
        is_locked = "password" in str(error).lower()
        raise RefusedHereError("old" if is_locked else "broken") from None
    return document


def _look_at_picture(
    content: bytes, kind: FileKind, name: str, end: tuple[bytes, int]
) -> Facts:
    _require_end(content, *end)
    opened_picture(content, name).load()
    return Facts(kind, 1)


def opened_picture(content: bytes, *names: str) -> Any:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        image = Image.open(io.BytesIO(content), formats=names)
    except Image.DecompressionBombError:
        raise RefusedHereError("pixels") from None
    if image.width * image.height > MAX_PIXELS:
        raise RefusedHereError("pixels")
    return image


def _require_end(content: bytes, mark: bytes, length: int) -> None:
    """Refuse what hides behind the end of a document, so many bytes from its mark."""
    end = content.rfind(mark)
    if end < 0:
        raise RefusedHereError("broken")
    behind = content[end + length :]
    if len(behind) > TRAILING or behind.strip(b"\r\n\t \0"):
        raise RefusedHereError("behind")


def _look_at_archive(content: bytes) -> FileKind:
    names = archives.names_in(content)
    found = [kind for part, kind in _MAIN_PARTS.items() if part in names]
    if len(found) != 1 or "[Content_Types].xml" not in names:
        raise RefusedHereError("kind")
    if any(_MACROS.search(name) for name in names):
        raise RefusedHereError("macros")
    return found[0]


def _painted(content: bytes, page: int) -> bytes:
    if content.startswith(b"%PDF-"):
        document = opened_pdf(content)
        if not 0 <= page < len(document):
            raise RefusedHereError("page")
        sheet = document[page]
        scale = min(
            WIDTH / max(sheet.get_width(), 1), 4, 3_000 / max(sheet.get_height(), 1)
        )
        image = sheet.render(scale=scale).to_pil()
    else:
        if page:
            raise RefusedHereError("page")
        image = opened_picture(content, "PNG", "JPEG")
        image.thumbnail((WIDTH, 3_000))
        image = image.convert("RGB")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def main(arguments: list[str]) -> int:
    """Look at what comes in, or paint a page of it."""
    confined.confine()
    content = sys.stdin.buffer.read()
    try:
        if arguments[0] == "look":
            sys.stdout.write(json.dumps(looked(content)._asdict()))
        else:
            sys.stdout.buffer.write(_painted(content, int(arguments[1])))
    except RefusedHereError as error:
        return confined.refuse(error)
    except MemoryError:
        return confined.refuse(RefusedHereError("giant"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
