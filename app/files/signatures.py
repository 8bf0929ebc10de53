"""Tells whether a PDF is what was issued and signatures, and whose; in a process of its own.

Nothing but signatures may have been added: not even before the first of them, where a
signature itself would not tell. The process is this module:
``python -m app.files.signatures SIZE ANCHORS < PDF > JSON``; it fetches nothing.
"""

import io
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from app.core import confined
from app.core.confined import RefusedHereError
from app.files.errors import MAX_BYTES, FileRefusedError


class Signature(NamedTuple):
    """One signature: whose certificate, by whom it was given out, when it says it was made.

    ``is_trusted``: its issuer is one of the trust anchors, as far back as they reach.
    """

    name: str
    issuer: str
    at: datetime | None
    is_trusted: bool


def signatures_in(content: bytes, issued: bytes, anchors: str) -> list[Signature]:
    """Return the signatures of a file that is ``issued`` and signatures, in their order.

    ``anchors`` is a file of certificates (PEM) that are trusted, "" for none. Raises
    ``FileRefusedError`` for whatever else a file may be.
    """
    if len(content) > MAX_BYTES:
        raise FileRefusedError("large")
    if not content.startswith(issued):
        raise FileRefusedError("other")
    try:
        told = confined.run("app.files.signatures", [str(len(issued)), anchors], content)
    except RefusedHereError as error:
        raise FileRefusedError(error.why, error.what) from None
    return [
        Signature(
            each["name"],
            each["issuer"],
            datetime.fromisoformat(each["at"]) if each["at"] else None,
            each["is_trusted"],
        )
        for each in json.loads(told)
    ]


# In the process of its own -------------------------------------------------------------


def _looked(content: bytes, size: int, anchors: str) -> list[dict[str, Any]]:
    from pyhanko.pdf_utils.reader import PdfFileReader

    reader = PdfFileReader(io.BytesIO(content))
    issued = PdfFileReader(io.BytesIO(content[:size]))
    signatures = reader.embedded_regular_signatures
    if not signatures:
        raise RefusedHereError("unsigned")
    _require_nothing_else(reader, issued.xrefs.total_revisions - 1)
    context = _context(anchors)
    return [_told(each, context) for each in signatures]


def _require_nothing_else(reader: Any, issued: int) -> None:
    """Refuse what changed more than signatures do since a revision."""
    from pyhanko.sign.diff_analysis import (
        DEFAULT_DIFF_POLICY,
        ModificationLevel,
        SuspiciousModification,
    )

    before = reader.get_historical_resolver(issued)
    now = reader.get_historical_resolver(reader.xrefs.total_revisions - 1)
    _give_empty_form(before, now)
    try:
        found = DEFAULT_DIFF_POLICY.apply(before, now)
    except SuspiciousModification:
        raise RefusedHereError("altered") from None
    if found.modification_level > ModificationLevel.FORM_FILLING:
        raise RefusedHereError("altered")


def _give_empty_form(before: Any, now: Any) -> None:
    """Have a paper without a form compared as one whose form is empty.

    The first signature brings the form along; the policy compares forms with forms alone.
    """
    from pyhanko.pdf_utils.generic import ArrayObject, DictionaryObject

    form = now.root["/AcroForm"]
    if "/AcroForm" not in before.root:
        flags = {"/SigFlags": form["/SigFlags"]} if "/SigFlags" in form else {}
        dictionary: Any = DictionaryObject  # untyped
        before.root["/AcroForm"] = dictionary({"/Fields": ArrayObject(), **flags})


def _context(anchors: str) -> Any:
    from asn1crypto import pem, x509
    from pyhanko_certvalidator import ValidationContext

    roots = []
    if anchors:
        found = pem.unarmor(Path(anchors).read_bytes(), multiple=True)
        roots = [x509.Certificate.load(der) for _kind, _headers, der in found]
    return ValidationContext(trust_roots=roots, allow_fetching=False)


def _told(signature: Any, context: Any) -> dict[str, Any]:
    from pyhanko.sign.diff_analysis import ModificationLevel
    from pyhanko.sign.validation import validate_pdf_signature

    status = validate_pdf_signature(signature, context)
    subject = status.signing_cert.subject.native
    name = str(subject.get("common_name") or status.signing_cert.subject.human_friendly)
    if not (status.intact and status.valid):
        raise RefusedHereError("signature", name)
    if status.modification_level > ModificationLevel.FORM_FILLING:
        raise RefusedHereError("altered")
    issuer = status.signing_cert.issuer.native
    at = status.signer_reported_dt
    return {
        "name": name,
        "issuer": str(
            issuer.get("common_name") or status.signing_cert.issuer.human_friendly
        ),
        "at": at.isoformat() if at else "",
        "is_trusted": bool(status.trusted),
    }


def main(arguments: list[str]) -> int:
    """Tell of the signatures in what comes in."""
    confined.confine()
    content = sys.stdin.buffer.read()
    try:
        told = _looked(content, int(arguments[0]), arguments[1])
    except RefusedHereError as error:
        return confined.refuse(error)
    except MemoryError:
        return confined.refuse(RefusedHereError("giant"))
    sys.stdout.write(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
