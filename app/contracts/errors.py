"""How contracts refuse."""

from collections.abc import Sequence

from app.contracts.rules import Problem
from app.core.errors import RejectedError
from app.core.words import message_id


class ContractError(RejectedError):
    """The version cannot be saved or activated as it is; ``problems`` lists why."""

    code = "contract_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("The contract has %(n)s problems to mend.", n=len(problems))


class NotDraftError(RejectedError):
    code = "not_draft"

    def __init__(self) -> None:
        super().__init__(
            "This version is no draft any more: make a new version to change it."
        )


class PlanChangedError(RejectedError):
    code = "plan_changed"

    def __init__(self) -> None:
        super().__init__(
            "The plan has changed since you saw it: look at it again, then approve."
        )


class UnfitTextError(RejectedError):
    code = "unfit_text"

    def __init__(self, text: str) -> None:
        super().__init__(
            "No workbook can hold this text: “%(what)s”. Take the YAML file, or mend the text.",
            what=text[:80],
        )


class NoContractFileError(RejectedError):
    code = "no_contract_file"

    def __init__(self) -> None:
        super().__init__("Choose a file first: ODCS (.yaml) or the workbook (.xlsx).")


class FileStaleError(RejectedError):
    """The contract is not any more what the preview compared the file with."""

    code = "contract_file_stale"

    def __init__(self) -> None:
        super().__init__(
            "Nothing was taken over: the contract has changed since you looked, or more than"
            " an hour has gone by. Send the file once more and look again."
        )


REFUSALS = {
    "empty": message_id("The file is empty."),
    "large": message_id("The file is larger than 2 MB: a contract is much smaller."),
    "kind": message_id("This is neither ODCS (.yaml) nor an Excel workbook (.xlsx)."),
    "old": message_id(
        "This is an old Excel file (.xls), or one with a password: save it as .xlsx without"
        " a password."
    ),
    "broken": message_id("The file is damaged and cannot be read: save it anew."),
    "places": message_id("The file is damaged and cannot be read: save it anew."),
    "bomb": message_id(
        "The workbook unpacks to far more than it should: copy the table alone into a new"
        " workbook."
    ),
    "entities": message_id(
        "The workbook holds a document type or entities, which no spreadsheet program"
        " writes: save it anew from Excel or LibreOffice."
    ),
    "rows": message_id("The sheet %(what)s goes on for too many rows: delete the empty ones."),
    "columns": message_id(
        "The sheet %(what)s goes on for too many columns: delete the empty ones."
    ),
    "sheets": message_id("The workbook has too many sheets."),
    "cell": message_id("A cell holds far too many characters."),
    "giant": message_id("The file needs too much memory or time to be read."),
    "letters": message_id("The text cannot be read as UTF-8: save it as UTF-8."),
    "sign": message_id(
        "The file holds a character that no text may have (line %(what)s): delete it."
    ),
    "syntax": message_id(
        "This is no YAML from line %(what)s on: look at the spaces at the beginning of the"
        " lines and at the colons."
    ),
    "anchor": message_id(
        "Line %(what)s has an anchor or an alias (& or *), which are not read: write the"
        " value itself."
    ),
    "tag": message_id("Line %(what)s has a tag (!), which is not read: delete it."),
    "twice": message_id("A name stands twice in the same place: %(what)s. Keep one of them."),
    "key": message_id("A name in line %(what)s is no plain text."),
    "deep": message_id("Line %(what)s lies too deep in others: no contract does."),
    "many": message_id("The file holds far more values than a contract has."),
    "documents": message_id(
        "A second document begins in line %(what)s (---): send one contract at a time."
    ),
}  # fmt: skip


class FileRefusedError(RejectedError):
    """The file cannot be read at all; ``why`` is one of ``REFUSALS``."""

    code = "contract_file_refused"

    def __init__(self, why: str, what: str = "") -> None:
        self.code = f"contract_file_{why}"
        super().__init__(REFUSALS[why], what=what or "?")
