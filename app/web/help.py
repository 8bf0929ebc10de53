"""Bantuan: what each page is for and what one does there, in two short paragraphs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import Flask, request

from app.web.i18n import lazy_gettext as _


class Help(NamedTuple):
    """The help of one page, or of all pages of one part of the menu."""

    purpose: Any
    doing: Any


# By a page's endpoint, else by the part of the menu that it belongs to.
HELP: Mapping[str, Help] = {
    "home": Help(
        _("The first page shows what stands in the central database, what worked last and what comes next."),
        _("A number leads to what it counts. What needs somebody is counted in orange beside the menu as well."),
    ),
    "wordings": Help(
        _("The words of the papers that the system issues by itself: receipt, letters, minutes, the interchange document, the report."),
        _("Change title, opening and closing and look at the picture beside them. What was issued before stays as it is, word for word."),
    ),
    "verify": Help(
        _("Tells everybody whether a paper was issued here, without showing what it says."),
        _("Enter the code beside the QR picture, or the SHA-256 of the file."),
    ),
    "holidays": Help(
        _("National holidays and collective leave. Saturdays and Sundays are no working days anyway."),
        _("Bring in the list of a year as a table, or add days one by one. All deadlines are worked out anew at once."),
    ),
    "requests": Help(
        _("A request goes from the agency's letter through twelve steps to the report. The line shows where it stands; below it stands what is asked, of whom, and since when."),
        _("In each step somebody writes the document of the step and submits it, others approve it or return it with remarks. Messages go to the other side, notes stay in the office."),
    ),
    "datasets": Help(
        _("The data of agencies as the last good pull left it: one dataset for each contract."),
        _("Search the rows, open one to see its former values, read what each column means in the dictionary, or ask for the whole as an Excel file; it is made in the background and waits under My downloads."),
    ),
    "downloads": Help(
        _("Files that you asked for. Nobody else sees them, and each is kept for some days."),
        _("A file that is being made appears here by itself when it is ready. One that is gone is asked for again on the page of its dataset."),
    ),
    "contracts": Help(
        _("A contract says which fields an agency provides, of which type, and what each of them must hold. Table, checks, API and Excel file all come out of it."),
        _("Write a draft, look at the plan of what it changes, and activate it. A version that is active never changes: a new one is drafted from it."),
    ),
    "contract_files": Help(
        _("A contract goes to an agency's programmers as ODCS (YAML), or to an official as a workbook, and comes back here with what they changed."),
        _("Send the file and look at what would change, what is wrong in it and what is not taken over. What you take over becomes a draft; it is activated as any other draft is."),
    ),
    "activation": Help(
        _("The plan tells step by step what activating this version does to the tables, before anything happens."),
        _("Activate only what you have read: if somebody changes the draft meanwhile, the plan is shown again."),
    ),
    "sources": Help(
        _("A source is the web service of an agency: its address, how to sign in, how its pages are turned, and how it fits its contract."),
        _("Enter the address and let it be looked at: Simpul proposes the settings. Before the first pull a second person approves the address."),
    ),
    "pulls": Help(
        _("Everything about one source: its settings, when it is pulled, what the last pulls brought, and what was set aside."),
        _("Pull now, set a schedule, or read a kept answer again. When a pull is held, the page of its run says why and who may let it pass."),
    ),
    "hosts": Help(
        _("How often and when each server of an agency may be asked. The limits hold for all sources and workers together."),
        _("Lower the limits when an agency complains of load, and enter the hours in which it must be left alone."),
    ),
    "schedules": Help(
        _("Work that starts by itself, on the clock of the office. Each time gives one run, however many servers there are."),
        _("Switch a schedule off instead of deleting it. What becomes of times that were missed is a choice of its own."),
    ),
    "runs": Help(
        _("Everything that works in the background: pulls, exports, activations, changes of many rows. Each run tells in its log what it did."),
        _("A run that failed says what went wrong and what to do. Trying it again goes on where it stopped; what was published is never published twice."),
    ),
    "ledger": Help(
        _("What waits, what is at work, and which programs are alive. Nothing is lost when one of them stops: another goes on."),
        _("Look here when something seems slow. A queue without a worker, or a worker that was not heard of for a minute, is the first thing to mend."),
    ),
    "quarantine": Help(
        _("Records that broke their contract, as they came. They are not in the central database, and the rest of their pull is."),
        _("Tell the agency what is wrong; it mends the value in its own system, and the next pull brings it. Nothing is to be typed here."),
    ),
    "developers": Help(
        _("How a program reads a dataset: its fields, ready samples, and a key to try it with masked rows."),
        _("Make a trial key, copy a sample and run it. For real rows the office grants access by an agreement."),
    ),
    "api_clients": Help(
        _("Programs of agencies that fetch data, with the limits that all their keys share."),
        _("Make a key and hand it over at once: it is shown this one time. A key that may be known to others is revoked here and opens nothing from that moment."),
    ),
    "complaints": Help(
        _("Complaints, suggestions, input, aspirations and requests for information, whichever way they came. Each has a number, somebody who answers it, and a last day."),
        _("Enter what came by letter, telephone or LAPOR!; pass it on to the agency that it is about; write the answer. An agency's people send theirs here and see what became of it. Who sent it, only those of the office who answer see."),
    ),
    "complain": Help(
        _("Tell the office what is not right, or what could be better, or ask for information. It answers within the days that it says here."),
        _("Keep the number and the code: with both of them you see where it stands and read the answer."),
    ),
    "changes": Help(
        _("Before a contract changes so that programs or tables of those who receive the data might break, each of them is told here: what changes, field by field, and from when on."),
        _("Who receives the data reads it and answers. The office activates the new version once all have answered, or when the time of notice is over."),
    ),
    "integrations": Help(
        _("Every integrated service on one page: agency, system and server, contract, source, who receives it, whom to call, how it does and when it is pulled next."),
        _("A case that closes enters its own. What ran before Simpul is added here, or brought in as a table, with the document that it rests on and the reason why it did not go the twelve steps."),
    ),
    "expiring": Help(
        _("All that comes to an end by itself: agreements, keys, grants, certificates, lists of staff, duties for somebody else, days of review."),
        _("What is over stands on top. Follow the link to lengthen it, renew it or let it end."),
    ),
    "agreements": Help(
        _("Another agency's data is open to yours while an agreement stands: to look at, as Excel, and for your programs. The office proposes it, the head of the agency whose data it is agrees or declines."),
        _("What was agreed to is not changed any more. For other fields, rows or a longer time, propose a new one: once it is agreed to, it takes the old one's place. Whoever ends an agreement closes list, file and API at once."),
    ),
    "service": Help(
        _("What the office does for agencies, what it asks for, how long it takes, and which services are integrated. Everybody may read it, without a log-in."),
        _("Where a request stands is shown to who knows its number and the code of one of its papers, such as the receipt."),
    ),
    "papers": Help(
        _("Each paper is read and initialled by somebody of the office, then signed: download it, sign the file with the certificate of who signs, and send it back here. Many at once go out as a ZIP and come back together."),
        _("A file is taken only when it is our paper and signatures, nothing else. What was signed by pen is sent as a scan at the paper itself, and counts once a second person has attested it. A paper that is not right is sent back and issued anew."),
    ),
    "api_grants": Help(
        _("Which program may read which dataset and which fields of it, within its agency's agreement, and until when."),
        _("When the last day is over, or the grant is withdrawn, list, file and API close at once."),
    ),
    "exchange": Help(
        _("What was handed out: to whom, when, how much, and by which agreement. Nothing leaves without a line here."),
        _("Narrow it by day, dataset or receiver to answer who has had which data. The log is sealed: a line that is changed later shows."),
    ),
    "office": Help(
        _("What letters, files and pages call the office, and how long each step of a request may take."),
        _("Change it here when the office moves or is renamed. The former values stay in the history and can be put back."),
    ),
    "agencies": Help(
        _("The agencies whose data is joined up, and those that receive it."),
        _("Add one by one, or bring in a table. People of an agency that is switched off cannot log in."),
    ),
    "users": Help(
        _("People who may log in, the agency that they work for, and their roles."),
        _("Invite a new person by mail, or print the sheet with their code. Who leaves is switched off; all their sessions end at once. Somebody who stands in for another gets a duty with an end."),
    ),
    "roles": Help(
        _("What each role may do. A person may hold several; what they may is the sum."),
        _("Here the office also says which roles must use a second factor."),
    ),
    "audit": Help(
        _("Every change of Simpul's own data: who, when, why, and what it was before. It can be read, and nobody can change it."),
        _("Open an event to see its fields, or its request to see all that was changed together. What was wrong is put back from there, after a preview."),
    ),
    "trash": Help(
        _("What was put away and can still come back, whole, with all its parts."),
        _("Restore it here. After some days it is removed for good, and what has left traces elsewhere never comes here: it is switched off instead."),
    ),
    "outbox": Help(
        _("Letters that Simpul writes by itself: invitations, forgotten passwords, notices. Each is kept until the mail server has taken it."),
        _("Without a mail server the letters stay here, and one-time links are handed over on paper instead."),
    ),
    "imports": Help(
        _("Rows of an Excel or CSV file are added to a list, or change what is there already. A row is recognised by its key, so the same file twice changes nothing."),
        _("Send the file, say which column is what, and look at what would happen. Wrong rows come back in your own file, with a remark and coloured cells."),
    ),
    "edits": Help(
        _("One change for many rows at once: only the columns that you tick, in all rows or in none."),
        _("Many rows are changed in the background. The whole change can be put back at once, from the audit trail."),
    ),
    "find": Help(
        _("Finds pages and everything that you may see, by the beginnings of words and numbers."),
        _("Press / or Ctrl-K on any page, type, choose with the arrows and open with Enter."),
    ),
    "notifications": Help(
        _("What happened that concerns you: runs that failed, pulls that are held, approvals that wait, files that are ready."),
        _("Choose below what you want to be told of, here and by mail: always, only problems, once a day, or never."),
    ),
    "account": Help(
        _("Your own account: where you are logged in, your second factor and passkeys, and duties that you hold for others."),
        _("End a session that you do not know at once and change your password. Keep the recovery codes on paper, away from the telephone."),
    ),
    "security": Help(
        _("Here you log in, and set what else proves that it is you."),
        _("Simpul never asks for your password by telephone or mail. A lost second factor is mended by two persons of the office."),
    ),
}  # fmt: skip


def help_of(endpoint: str) -> Help | None:
    """Return the help of a page, if it has one."""
    return HELP.get(endpoint) or HELP.get(endpoint.partition(".")[0])


def init_app(app: Flask) -> None:
    """Give the frame the help of the page at hand."""

    @app.context_processor
    def words() -> dict[str, Any]:
        return {"page_help": help_of(request.endpoint or "")}
