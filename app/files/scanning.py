"""Reads the QR codes of what was signed by pen and scanned; in a process of its own.

A scan is a picture, or a PDF whose pages are pictures: any other PDF is no scan, however
much its code says so, and might read otherwise than the paper that the code is of. The
process is this module: ``python -m app.files.scanning < FILE > JSON``.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from app.core import confined
from app.core.confined import RefusedHereError
from app.files.errors import FileRefusedError
from app.files.inspection import FileKind, looked, opened_pdf, opened_picture

MAX_PAGES = 10  # of a scan are looked at
WIDTH = 2_000  # of a page in which codes are looked for, in points
SCANNED = frozenset({FileKind.PDF, FileKind.PNG, FileKind.JPEG})
_BEGINNINGS = (b"%PDF-", b"\x89PNG", b"\xff\xd8\xff")
COVERED = 0.6  # of a scanned page by its picture


def codes_on(content: bytes) -> list[str]:
    """Return the texts of all QR codes on a scan; raises ``FileRefusedError`` for none."""
    try:
        return list(json.loads(confined.run("app.files.scanning", [], content)))
    except RefusedHereError as error:
        raise FileRefusedError(error.why, error.what) from None


# In the process of its own -------------------------------------------------------------


def _pictures(content: bytes) -> Iterator[Any]:
    if not content.startswith(b"%PDF-"):
        picture = opened_picture(content, "PNG", "JPEG")
        picture.thumbnail((WIDTH, 2 * WIDTH))
        yield picture.convert("L")
        return
    document = opened_pdf(content)
    for number in range(min(len(document), MAX_PAGES)):
        page = document[number]
        if not _is_picture(page):
            raise RefusedHereError("other")
        scale = min(
            WIDTH / max(page.get_width(), 1), 4, 4_000 / max(page.get_height(), 1)
        )
        yield page.render(scale=scale).to_pil().convert("L")


def _is_picture(page: Any) -> bool:
    """Tell whether a picture covers most of a page."""
    from pypdfium2 import raw

    whole = page.get_width() * page.get_height()
    for each in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = each.get_bounds()
        if (right - left) * (top - bottom) >= COVERED * whole:
            return True
    return False


def _codes(content: bytes) -> list[str]:
    import zxingcpp

    wanted = zxingcpp.barcode_formats_from_str("QRCode")
    return [
        code.text
        for picture in _pictures(content)
        for code in zxingcpp.read_barcodes(picture, formats=wanted)
    ]


def main() -> int:
    """Read the codes of what comes in."""
    confined.confine()
    content = sys.stdin.buffer.read()
    if not content.startswith(_BEGINNINGS):
        return confined.refuse(RefusedHereError("other"))
    try:
        # A file that could hide something is refused before anything of it is painted.
        looked(content)
        sys.stdout.write(json.dumps(_codes(content)))
    except RefusedHereError as error:
        return confined.refuse(error)
    except MemoryError:
        return confined.refuse(RefusedHereError("giant"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
