"""Why a file is refused, in words that say what to do."""

from collections.abc import Mapping
from types import MappingProxyType

from app.core.errors import RejectedError
from app.core.words import message_id

MAX_BYTES = 7 * 1024 * 1024

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "empty": message_id("The file is empty: choose it again."),
        "large": message_id("The file is larger than 7 MB: scan it more coarsely, or split it."),
        "kind": message_id(
            "Only PDF, Word (.docx), Excel (.xlsx), PNG and JPEG are taken. What this file holds"
            " is none of them."
        ),
        "name": message_id(
            "The name of the file says otherwise than its content, which is %(what)s. Save it"
            " anew under the right name."
        ),
        "broken": message_id("The file is damaged and cannot be read: save or scan it anew."),
        "old": message_id("The file has a password. Save it without one and send it again."),
        "behind": message_id(
            "There is something else in the file behind its end. Save it anew and send that."
        ),
        "script": message_id(
            "The document carries programs or files within it, which are not taken. Print it"
            " to PDF and send that."
        ),
        "macros": message_id(
            "The document carries macros, which are not taken. Save it without them."
        ),
        "bomb": message_id("The file unpacks to far more than it should. Save it anew."),
        "entities": message_id(
            "The document holds a document type or entities, which no office program writes."
            " Save it anew."
        ),
        "places": message_id(
            "The document holds parts that would lie outside of it. Save it anew."
        ),
        "pages": message_id("The document has more than %(what)s pages: split it."),
        "pixels": message_id("The picture has too many points: scan it more coarsely."),
        "giant": message_id("The file needs too much memory or time to be read: split it."),
        "gone": message_id(
            "The file is not in the store of this server: ask who runs it for the backup."
        ),
        "other": message_id(
            "This is not one of our papers with a signature added. Download the paper here, sign"
            " that very file, and send it back as the signing service gives it out."
        ),
        "unsigned": message_id("There is no signature in the file: sign it, then send it."),
        "altered": message_id(
            "Something else than signatures was added to the paper. Download it here once more"
            " and sign it as it is."
        ),
        "signature": message_id(
            "The signature of %(what)s does not fit the file: it was changed afterwards."
        ),
        "untrusted": message_id(
            "The certificate of %(what)s was not given out by any authority that is trusted here."
        ),
        "page": message_id("The document has no such page."),
    }
)  # fmt: skip


class FileRefusedError(RejectedError):
    """``why`` is one of ``REASONS``."""

    def __init__(self, why: str, what: str = "") -> None:
        self.why = why
        super().__init__(
            REASONS[why], code=f"file_{why}", **({"what": what} if what else {})
        )
