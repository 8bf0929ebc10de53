"""Everything that changes contracts; activation's DDL lives with the datasets."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.errors import ContractError, FileStaleError, NotDraftError
from app.contracts.fields import FieldSpec
from app.contracts.models import Contract, ContractField, ContractVersion
from app.contracts.rules import Problem, problems_of
from app.contracts.states import VersionStatus
from app.contracts.terms import Terms
from app.core.errors import RejectedError
from app.core.policy import acting_principal
from app.core.sql import is_name

MAX_SLUG_LENGTH = 36  # leaves room for __history in a name of 48


class BadSlugError(RejectedError):
    code = "bad_slug"

    def __init__(self) -> None:
        super().__init__(
            "The short name has small letters, digits and _, begins with a letter and has"
            " at most %(n)s characters.",
            n=MAX_SLUG_LENGTH,
        )


class SlugTakenError(RejectedError):
    code = "slug_taken"

    def __init__(self) -> None:
        super().__init__("Another contract has this short name already: choose another.")


def create_contract(session: Session, **values: Any) -> Contract:
    """Make a contract with its first draft. ``values`` are the contract's columns.

    Raises ``BadSlugError`` or ``SlugTakenError``.
    """
    slug = values["slug"]
    if len(slug) > MAX_SLUG_LENGTH or not is_name(slug) or re.search(r"__", slug):
        raise BadSlugError
    if session.scalar(sa.select(Contract.id).where(Contract.slug == slug)):
        raise SlugTakenError
    contract = Contract(**values)
    session.add(contract)
    session.flush()  # its id is needed by the draft
    session.add(_draft(contract, 1, ()))
    return contract


def draft_from(session: Session, active: ContractVersion) -> ContractVersion:
    """Make the next draft as a copy of a version; return the draft there is, if any."""
    existing = session.scalar(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == active.contract_id,
            ContractVersion.status == VersionStatus.DRAFT,
        )
    )
    if existing is not None:
        return existing
    highest = session.scalar(
        sa.select(sa.func.max(ContractVersion.number)).where(
            ContractVersion.contract_id == active.contract_id
        )
    )
    draft = _draft(active.contract, (highest or 0) + 1, active.specs())
    draft.max_rejected_percent = active.max_rejected_percent
    draft.max_vanished_percent = active.max_vanished_percent
    session.add(draft)
    return draft


def _draft(
    contract: Contract, number: int, fields: Sequence[FieldSpec]
) -> ContractVersion:
    return ContractVersion(
        contract_id=contract.id,
        contract=contract,
        agency_id=contract.agency_id,
        number=number,
        created_by=acting_principal().label,
        fields=[_row(contract.agency_id, at, each) for at, each in enumerate(fields)],
    )


def _row(agency_id: UUID, position: int, spec: FieldSpec) -> ContractField:
    row = ContractField(agency_id=agency_id)
    _fill(row, position, spec)
    return row


def _fill(row: ContractField, position: int, spec: FieldSpec) -> None:
    row.position = position
    for name in FieldSpec.__struct_fields__:
        setattr(row, name, getattr(spec, name))
    row.allowed_values = list(spec.allowed_values)


def former_of(session: Session, version: ContractVersion) -> ContractVersion | None:
    """Return the version that was active before this one, or is; None for the first one."""
    return session.scalar(
        sa.select(ContractVersion)
        .where(
            ContractVersion.contract_id == version.contract_id,
            ContractVersion.number < version.number,
            ContractVersion.activated_at.is_not(None),
        )
        .order_by(ContractVersion.number.desc())
        .limit(1)
    )


class Standing(NamedTuple):
    """What a contract is just now. ``base`` is what a new draft would be compared with.

    ``mark`` is another one as soon as any of it is saved anew.
    """

    newest: ContractVersion
    base: ContractVersion
    draft: ContractVersion | None
    mark: str


def standing_of(session: Session, contract: Contract) -> Standing:
    """Return the active version and the draft of a contract, as far as there are."""
    versions = session.scalars(
        sa.select(ContractVersion)
        .where(ContractVersion.contract_id == contract.id)
        .order_by(ContractVersion.number.desc())
        .execution_options(populate_existing=True)
    ).all()
    newest = versions[0]  # there has been one since the contract was made
    active = next((v for v in versions if v.status is VersionStatus.ACTIVE), None)
    draft = newest if newest.status is VersionStatus.DRAFT else None
    mark = " ".join(f"{v.id}:{v.row_version}:{v.status}" for v in versions[:2])
    return Standing(newest, active or newest, draft, mark)


def take_in(
    session: Session, contract: Contract, terms: Terms, seen: str
) -> ContractVersion:
    """Make what a file says the draft of a contract, instead of the one there may be.

    ``seen`` is the ``mark`` of what it was compared with. Raises ``FileStaleError`` when the
    contract is another one by now, and ``ContractError`` for names that clash.
    """
    standing = standing_of(session, contract)
    session.execute(  # of two who take in at once, the second one finds another standing
        sa.select(ContractVersion.id)
        .where(ContractVersion.id == standing.newest.id)
        .with_for_update()
    )
    standing = standing_of(session, contract)
    if standing.mark != seen:
        raise FileStaleError
    draft = draft_from(session, standing.newest)
    session.flush()  # its fields are replaced, and must be there for it
    fill_draft(session, draft, terms)
    return draft


def fill_draft(session: Session, draft: ContractVersion, terms: Terms) -> None:
    """Give a draft the fields of a file, and the limits and the note as far as it says them."""
    save_fields(session, draft, terms.fields)
    for name in ("max_vanished_percent", "max_rejected_percent"):
        if getattr(terms, name) is not None:
            setattr(draft, name, getattr(terms, name))
    draft.note = terms.note or draft.note


def lock_draft(session: Session, version: ContractVersion) -> bool:
    """Keep others from saving this draft until the transaction ends; False if it is none.

    What is read from ``version`` after this is what stands in the database now.
    """
    session.execute(
        sa.select(ContractVersion.id)
        .where(ContractVersion.id == version.id)
        .with_for_update()
    )
    session.refresh(version)
    return version.status is VersionStatus.DRAFT


def save_fields(
    session: Session, version: ContractVersion, fields: Sequence[FieldSpec]
) -> list[Problem]:
    """Replace a draft's fields; return what must be mended before it can be activated.

    A draft may be saved unfinished, but not so that its names could not be stored.
    Raises ``NotDraftError``, and ``ContractError`` for names that clash.
    """
    if version.status is not VersionStatus.DRAFT:
        raise NotDraftError
    problems = problems_of(fields)
    names = [each.name for each in fields]
    if len(set(names)) < len(names):
        raise ContractError([p for p in problems if p.field in names])
    if tuple(fields) != version.specs():
        _write_fields(session, version, fields)
    return problems


def _write_fields(
    session: Session, version: ContractVersion, fields: Sequence[FieldSpec]
) -> None:
    """Change the rows that differ and no others: the trail then tells what was changed."""
    rows = {row.name: row for row in version.fields}
    for name in rows.keys() - {each.name for each in fields}:
        version.fields.remove(rows[name])
    for at, spec in enumerate(fields):
        if spec.name in rows:
            _fill(rows[spec.name], at, spec)
        else:
            version.fields.append(_row(version.agency_id, at, spec))
    version.row_version += 1
    session.flush()
    session.refresh(version, ["fields"])  # in the order of their new places


def require_sound(version: ContractVersion) -> None:
    """Raise ``ContractError`` unless the version may become a table."""
    problems = problems_of(version.specs())
    if problems:
        raise ContractError(problems)
