"""What a case builds: its contract, the source, the dataset; and what keeps a step open.

The contract is drafted out of the definition of step 2, and says on what it rests. A step
does not close while what it is for is not there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.contracts.models import Contract, ContractVersion
from app.contracts.rules import problems_of
from app.contracts.services import MAX_SLUG_LENGTH, create_contract, save_fields
from app.contracts.states import (
    Classification,
    DatasetKind,
    FieldType,
    LoadMode,
    VersionStatus,
)
from app.core import db
from app.core.policy import DbRole, Principal, acting_as
from app.core.words import message_id as _
from app.datasets.models import Agreement, Dataset
from app.datasets.queries import agreement_of
from app.integrations.models import Integration
from app.integrations.queries import last_pulls
from app.requests.documents import DocumentKind
from app.requests.errors import NoDefinitionError
from app.requests.fields import Values
from app.requests.findings import Finding
from app.requests.models import Document, IntegrationRequest, IssuedPaper
from app.requests.signing import signings
from app.requests.states import PaperState, Step
from app.requests.wordings import PaperKind
from app.runs.states import TROUBLED
from app.sources.models import Source

# Whatever role somebody has: whether a step is done is the same for all of them.
_READER = Principal("sistem: langkah permohonan", DbRole.SYSTEM)
NO_CONTRACT = _("There is no contract yet: draft it from the definition, or choose one.")
UNSOUND = _("The contract cannot be activated as it is: see what its draft still lacks.")
NOT_ACTIVE = _("The contract is not active yet: activate its version.")
UNSIGNED = _("The interchange document is not signed by all sides yet: see its paper.")
NO_SOURCE = _(
    "No source of the contract is switched on: add the web service of the agency."
)
DRAFT_WAITS = _(
    "The new version of the contract is not active yet: activate it, or take its draft away."
)
NOT_PUBLISHED = _("No pull has been published yet: the central table is empty.")
NOT_AGREED = _(
    "No agreement opens the rows to the applicant yet: propose one, and have the agency whose"
    " data it is agree."
)
FOUND_WRONG = _(
    "Findings wait for a pull that brings what is right, or for the agency to give them up."
)
RED = _("The last pull of a source did not succeed: look at its run.")


@dataclass(frozen=True, slots=True)
class Built:
    """How far a case's integration is. ``red_run_id`` is the last pull, if it failed.

    ``draft_waits``: an amendment's next version. ``needs_agreement``: whose data it is, is
    another; ``agreement`` opens it, if one does. ``has_open_findings``: of the agency, while
    it checks. ``is_unsigned``: the interchange document, while its signatures are waited for.
    """

    contract: Contract | None = None
    is_sound: bool = False
    is_active: bool = False
    draft_waits: bool = False
    sources: tuple[Source, ...] = ()
    dataset: Dataset | None = None
    red_run_id: UUID | None = None
    needs_agreement: bool = False
    agreement: Agreement | None = None
    has_open_findings: bool = False
    is_unsigned: bool = False


def built(case: IntegrationRequest, findings: Sequence[Finding]) -> Built:
    """Return how far a case's integration is, as committed; ``findings`` are the agency's."""
    if case.contract_id is None:
        return Built()
    with acting_as(_READER), db.unit_of_work() as session:
        contract = session.get_one(Contract, case.contract_id)
        versions = session.scalars(
            sa.select(ContractVersion).where(ContractVersion.contract_id == contract.id)
        ).all()
        sources = session.scalars(
            sa.select(Source).where(Source.contract_id == contract.id, Source.enabled)
        ).all()
        dataset = session.scalar(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        )
        last = last_pulls(session, _READER, [contract.id]).get(contract.id)
        agreement = None
        if dataset is not None and case.producer_id is not None:
            agreement = agreement_of(session, dataset, case.agency_id)
        return Built(
            contract=contract,
            is_sound=any(not problems_of(version.specs()) for version in versions),
            is_active=any(v.status is VersionStatus.ACTIVE for v in versions),
            draft_waits=case.is_amendment
            and any(v.status is VersionStatus.DRAFT for v in versions),
            sources=tuple(sources),
            dataset=dataset if dataset and dataset.published_at else None,
            red_run_id=last.id if last and last.status in TROUBLED else None,
            needs_agreement=case.producer_id is not None,
            agreement=agreement,
            has_open_findings=case.step is Step.AGENCY_CHECK
            and any(each.keeps_open for each in findings),
            is_unsigned=case.step is Step.API and _is_unsigned(session, case),
        )


def _is_unsigned(session: Session, case: IntegrationRequest) -> bool:
    """Tell whether the newest interchange document still waits for a side's signature."""
    paper = session.scalar(
        sa.select(IssuedPaper)
        .where(IssuedPaper.case_id == case.id, IssuedPaper.kind == PaperKind.INTERCHANGE)
        .order_by(IssuedPaper.issued_at.desc(), IssuedPaper.number.desc())
        .limit(1)
    )
    if paper is None:
        return True
    return signings(session, [paper])[paper.id].state is not PaperState.SIGNED


def obstacles(step: Step, found: Built) -> list[str]:
    """Return what keeps a step open, as message ids; nothing for steps without a contract."""
    order = list(Step)
    at, first = order.index(step), order.index(Step.INTERCHANGE_DOCUMENT)
    if not first <= at <= order.index(Step.DASHBOARD):
        return []
    if found.contract is None:
        return [NO_CONTRACT]
    if step is Step.INTERCHANGE_DOCUMENT:
        return [] if found.is_sound or found.is_active else [UNSOUND]
    is_api = step is Step.API
    is_received = order.index(step) >= order.index(Step.RESULT_DELIVERY)
    lacks = {
        UNSIGNED: found.is_unsigned,
        NOT_ACTIVE: not found.is_active,
        DRAFT_WAITS: found.draft_waits,
        NO_SOURCE: not found.sources,
        NOT_PUBLISHED: found.dataset is None and not is_api,
        RED: found.red_run_id is not None and not is_api,
        FOUND_WRONG: found.has_open_findings,
        NOT_AGREED: is_received and found.needs_agreement and found.agreement is None,
    }
    return [message for message, is_lacking in lacks.items() if is_lacking]


def may_amend(session: Session, contract: Contract, principal: Principal) -> bool:
    """Tell whether a contract is that of a running integration of one's own agency."""
    runs = sa.select(Integration.id).where(Integration.contract_id == contract.id)
    return contract.agency_id == principal.agency_id and session.scalar(runs) is not None


def draft_contract(session: Session, case: IntegrationRequest) -> Contract:
    """Make the contract of a case with a draft out of its data definition.

    Raises ``NoDefinitionError`` when no element has been defined.
    """
    definition = session.scalar(
        sa.select(Document).where(
            Document.case_id == case.id, Document.kind == DocumentKind.DATA_DEFINITION
        )
    )
    content = definition.content if definition else {}
    specs = specs_of(content)
    if not specs:
        raise NoDefinitionError
    title = str(content.get("dataset") or case.title)
    contract = create_contract(
        session,
        agency_id=case.producer_id or case.agency_id,
        slug=_free_slug(session, title),
        title=title,
        description=str(content.get("purpose", "")),
        kind=DatasetKind(content.get("kind") or DatasetKind.MASTER),
        load_mode=LoadMode.SNAPSHOT,
    )
    session.flush()
    draft = session.scalars(
        sa.select(ContractVersion).where(ContractVersion.contract_id == contract.id)
    ).one()
    save_fields(session, draft, specs)
    join(session, case, contract)
    return contract


def join(session: Session, case: IntegrationRequest, contract: Contract) -> None:
    """Say that a contract rests on a case, and the other way round."""
    case.contract_id = contract.id
    contract.basis = str(case)
    session.flush()


def specs_of(content: Values) -> list[FieldSpec]:
    """Return the fields that a data definition defines, in its order; no name twice."""
    found: dict[str, FieldSpec] = {}
    for element in content.get("elements", ()):
        label = str(element.get("name", ""))
        name = _plain(label)
        if not name or name in found:
            continue
        is_key = element.get("is_key") == "1"
        found[name] = FieldSpec(
            name=name,
            source_path=name,
            label=label,
            type=FieldType(element.get("type") or FieldType.TEXT),
            is_key=is_key,
            required=is_key or element.get("is_needed") == "1",
            classification=Classification(
                element.get("classification") or Classification.PUBLIC
            ),
            definition=str(element.get("definition", "")),
            unit=str(element.get("unit", "")),
            example=str(element.get("example", "")),
        )
    return list(found.values())


def _plain(text: str) -> str:
    """Return a name for a column: small letters, digits and _, a letter in front."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if name[:1].isalpha() else f"f_{name}" if name else ""


def _free_slug(session: Session, title: str) -> str:
    stem = _plain(title)[: MAX_SLUG_LENGTH - 4].rstrip("_") or "data"
    taken = set(
        session.scalars(sa.select(Contract.slug).where(Contract.slug.startswith(stem)))
    )
    tries = (stem, *(f"{stem}_{n}" for n in range(2, 1000)))
    return next(slug for slug in tries if slug not in taken)
