"""What the eye sees of a paper: how many pages, and what reads otherwise than before."""

import difflib
from collections.abc import Sequence

import pypdfium2


def page_count(content: bytes) -> int:
    """Return how many pages a paper of ours has."""
    document = pypdfium2.PdfDocument(content)
    try:
        return len(document)
    finally:
        document.close()


def what_changed(before: bytes, after: bytes) -> Sequence[tuple[str, str]]:
    """Return the lines that two papers of ours do not share: ``-`` or ``+``, and the line."""
    lines = difflib.ndiff(_lines(before), _lines(after))
    return [(line[0], line[2:]) for line in lines if line[0] in "-+"]


def _lines(content: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(content)
    try:
        return [
            " ".join(line.split())
            for page in document
            for line in page.get_textpage().get_text_range().splitlines()
            if line.strip()
        ]
    finally:
        document.close()
