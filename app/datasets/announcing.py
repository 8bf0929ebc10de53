"""A new version that may break what receivers do with the data: they are told beforehand.

Whoever receives a field that a breaking change is about is told what changes and from which
day on it may. The version waits until each of them has answered or that day has come.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.changes import Change, changes_of, hit_fields, is_breaking
from app.contracts.errors import NotDraftError
from app.contracts.fields import FieldSpec
from app.contracts.models import ContractVersion
from app.contracts.services import require_sound
from app.contracts.states import VersionStatus
from app.core import db
from app.core.policy import acting_principal
from app.core.scope import NotFoundError
from app.core.words import message_id
from app.datasets.errors import (
    AnsweredAlreadyError,
    LongRemarkError,
    NobodyToTellError,
    NotAnnouncedError,
)
from app.datasets.models import Agreement, ChangeNotice, Dataset
from app.datasets.reading import readable
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.office.queries import notice_days

MAX_REMARK = 2_000


@dataclass(frozen=True, slots=True)
class Impact:
    """What a draft changes, whom it hits, and which of them were told of just this.

    ``told`` holds the notices by the receiver's agency.
    """

    changes: Sequence[Change]
    hit: Sequence[Agreement]
    told: Mapping[UUID, ChangeNotice]

    @property
    def is_breaking(self) -> bool:
        return is_breaking(self.changes)

    @property
    def untold(self) -> list[Agreement]:
        return [each for each in self.hit if each.agency_id not in self.told]

    def waits_for(self, now: datetime) -> list[ChangeNotice]:
        """Return the notices without an answer whose day has not come."""
        hit = {each.agency_id for each in self.hit}
        return [
            each
            for agency, each in self.told.items()
            if agency in hit and each.answered_at is None and now < each.due_at
        ]


def impact_of(session: Session, version: ContractVersion) -> Impact:
    """Return what a draft would change for receivers; nothing where no version is active."""
    active = session.scalar(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == version.contract_id,
            ContractVersion.status == VersionStatus.ACTIVE,
        )
    )
    dataset = session.scalar(
        sa.select(Dataset).where(Dataset.contract_id == version.contract_id)
    )
    if active is None or dataset is None:
        return Impact((), (), {})
    changes = changes_of(active.specs(), version.specs())
    agreements = session.scalars(
        sa.select(Agreement)
        .where(Agreement.dataset_id == dataset.id, *Agreement.is_active())
        .order_by(Agreement.number)
    ).all()
    fields = hit_fields(changes)
    hit = [each for each in agreements if fields & _received(each, active.specs())]
    told = session.scalars(
        sa.select(ChangeNotice).where(
            ChangeNotice.version_id == version.id,
            ChangeNotice.digest == digest_of(changes),
        )
    )
    return Impact(changes, hit, {each.agency_id: each for each in told})


def _received(agreement: Agreement, specs: Sequence[FieldSpec]) -> set[str]:
    """Name the fields that an agreement opens, and the one that rows are chosen by."""
    opened = readable(specs, agreement.fields)
    return {each.name for each in opened} | {agreement.row_field}


def digest_of(changes: Sequence[Change]) -> str:
    """Return what tells one set of breaking changes from another."""
    breaking = [
        (each.field, each.column, each.old, each.new)
        for each in changes
        if each.is_breaking
    ]
    return hashlib.sha256(msgspec.json.encode(breaking)).hexdigest()


def announce(session: Session, version: ContractVersion) -> int:
    """Tell all whom a draft hits and who do not know yet; return how many.

    Raises ``NotDraftError``, ``ContractError`` for an unsound one, and
    ``NobodyToTellError`` when everybody knows or nobody is hit.
    """
    if version.status is not VersionStatus.DRAFT:
        raise NotDraftError
    require_sound(version)
    impact = impact_of(session, version)
    if not impact.untold:
        raise NobodyToTellError
    now = db.now(session)
    due_at = now + timedelta(days=notice_days(session))
    for agreement in impact.untold:
        notice = ChangeNotice(
            version_id=version.id,
            dataset_id=agreement.dataset_id,
            agency_id=agreement.agency_id,
            producer_id=agreement.producer_id,
            title=str(version),
            changes=msgspec.to_builtins(impact.changes),
            digest=digest_of(impact.changes),
            sent_at=now,
            sent_by=acting_principal().label,
            due_at=due_at,
        )
        session.add(notice)
        session.flush()
        notices.tell(
            session,
            NoticeKind.AGREEMENT_TOLD,
            message_id("%(dataset)s changes: look what it means for you, and answer."),
            {"dataset": agreement.dataset.title},
            path=f"/changes/details/?id={notice.id}",
            agency_id=agreement.agency_id,
        )
    return len(impact.untold)


def answer(session: Session, notice: ChangeNotice, remark: str) -> None:
    """Say for the receiver that it knows and is ready.

    Raises ``NotFoundError`` for anybody else, ``AnsweredAlreadyError``, ``LongRemarkError``.
    """
    principal = acting_principal()
    if principal.agency_id != notice.agency_id:
        raise NotFoundError
    session.execute(
        sa.select(ChangeNotice.id).where(ChangeNotice.id == notice.id).with_for_update()
    )
    session.refresh(notice)
    if notice.answered_at is not None:
        raise AnsweredAlreadyError
    words = remark.replace("\0", "").strip()
    if len(words) > MAX_REMARK:
        raise LongRemarkError(MAX_REMARK)
    notice.answered_at, notice.answered_by = db.now(session), principal.label
    notice.remark = words
    session.flush()


def require_announced(session: Session, version: ContractVersion) -> None:
    """Raise ``NotAnnouncedError`` while somebody who is hit is not told, or may still answer."""
    impact = impact_of(session, version)
    if not impact.is_breaking:
        return
    now = db.now(session)
    waiting = impact.waits_for(now)
    if impact.untold:
        names = ", ".join(each.agency.name for each in impact.untold)
        raise NotAnnouncedError(
            "It may break what %(agencies)s do with the data: tell them first, on the page"
            " of the version.",
            agencies=names,
        )
    if waiting:
        raise NotAnnouncedError(
            "%(agencies)s were told and have not answered: it may be activated once they"
            " have, or in %(days)s days.",
            agencies=", ".join(each.agency.name for each in waiting),
            days=(max(each.due_at for each in waiting) - now).days + 1,
        )
