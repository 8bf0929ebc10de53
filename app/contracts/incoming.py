"""Reading a contract out of a file that somebody sends: ODCS as YAML, or the workbook.

The file is opened by a process of its own with little memory and time, which tells no more
than its texts: ``python -m app.contracts.incoming < FILE > JSON``. What they mean is found
here.
"""

import json
import sys
from typing import Any

from defusedxml import DefusedXmlException

from app.contracts import odcs, workbook
from app.contracts.errors import FileRefusedError
from app.contracts.plain_yaml import tree_of
from app.contracts.terms import Taken
from app.core import confined, workbooks
from app.core.confined import RefusedHereError
from app.core.workbooks import Bounds, Line

MAX_BYTES = 2 * 1024 * 1024
MAX_ROWS, MAX_COLUMNS, MAX_SHEETS = 5_000, 100, 20
_WHOLE = Bounds(1 << 20, 1 << 14)  # as far as a sheet can go


def read(content: bytes) -> Taken:
    """Return what a file says of a contract; raises ``FileRefusedError``."""
    if not content:
        raise FileRefusedError("empty")
    if len(content) > MAX_BYTES:
        raise FileRefusedError("large")
    try:
        said = json.loads(confined.run("app.contracts.incoming", [], content))
    except RefusedHereError as error:
        raise FileRefusedError(error.why, error.what) from None
    if "sheets" not in said:
        return odcs.read(said["tree"])
    return workbook.read(
        {
            title: [Line(*each) for each in lines]
            for title, lines in said["sheets"].items()
        }
    )


# In the process of its own -------------------------------------------------------------


def texts_of(content: bytes) -> dict[str, Any]:
    """Return what a file says as texts alone: the ``tree`` of a YAML, or ``sheets``.

    Raises ``RefusedHereError``.
    """
    if content.startswith(b"PK"):
        return {"sheets": _sheets(content)}
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise RefusedHereError("old")
    return {"tree": tree_of(content)}


def _sheets(content: bytes) -> dict[str, list[Line]]:
    workbooks.require_workbook(content)
    book = workbooks.open_book(content, read_only=True)
    if len(book.worksheets) > MAX_SHEETS:
        raise RefusedHereError("sheets")
    return {sheet.title: _lines(content, sheet) for sheet in book.worksheets}


def _lines(content: bytes, sheet: Any) -> list[Line]:
    """Return the lines of a sheet; what lies far out is refused, not passed over."""
    lines = []
    for line in workbooks.lines_of(sheet, _WHOLE):
        if line.number > MAX_ROWS:
            raise RefusedHereError("rows", sheet.title)
        if any(line.cells[MAX_COLUMNS:]):
            raise RefusedHereError("columns", sheet.title)
        lines.append(line._replace(cells=line.cells[:MAX_COLUMNS]))
    within = Bounds(MAX_ROWS, MAX_COLUMNS)
    return workbooks.with_dead_formulas(content, sheet.title, lines, within)


def main() -> int:
    """Read what comes in, and write what it says, or why nothing is said."""
    confined.confine()
    try:
        out = json.dumps(texts_of(sys.stdin.buffer.read()))
    except RefusedHereError as error:
        return confined.refuse(error)
    except DefusedXmlException:
        return confined.refuse(RefusedHereError("entities"))
    except MemoryError:
        return confined.refuse(RefusedHereError("giant"))
    sys.stdout.write(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
