"""What a new version changes, whom it hits, and that they know before it is active."""

import itertools
import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.contracts.changes import changes_of, hit_fields, is_breaking
from app.contracts.decoder import Decoder
from app.contracts.errors import ContractError
from app.contracts.models import ContractVersion
from app.contracts.services import save_fields
from app.contracts.states import Classification, FieldType, VersionStatus
from app.core import db
from app.core.policy import DbRole, Principal, acting_as
from app.core.scope import NotFoundError
from app.datasets import activation, announcing
from app.datasets.errors import (
    AnsweredAlreadyError,
    LongRemarkError,
    NobodyToTellError,
    NotAnnouncedError,
)
from app.datasets.models import ChangeNotice, Dataset
from app.notifications.models import Notice
from app.office.models import Office
from tests import make

SYSTEM = Principal("sistem", DbRole.SYSTEM)
NIP = make.field("nip", is_key=True, required=True)
NAME = make.field("nama", required=True)


def verdict(old, new):
    changes = changes_of([NIP, old], [NIP, new])
    return is_breaking(changes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"required": True}, {}),
        ({"type": FieldType.INTEGER}, {"type": FieldType.NUMBER}),
        ({"unit": "kg"}, {"unit": "ton"}),
        ({"max_length": 10}, {"max_length": 11}),
        ({"max_length": 10}, {}),
        ({"min_length": 5}, {"min_length": 4}),
        ({"min_length": 5}, {}),
        ({"allowed_values": ("L", "P")}, {"allowed_values": ("L", "P", "X")}),
        ({"allowed_values": ("L", "P")}, {}),
        ({"pattern": "[0-9]+"}, {"pattern": "[0-9]*"}),
        ({"pattern": "[0-9]+"}, {}),
        ({}, {"classification": Classification.PERSONAL}),
        ({"required": True}, {"required": True, "is_key": True}),
    ],
)
def test_what_is_loosened_or_means_something_else_may_break(old, new):
    assert verdict(make.field("x", **old), make.field("x", **new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"required": True}),
        ({}, {"max_length": 10}),
        ({"max_length": 10}, {"max_length": 9}),
        ({"min_length": 5}, {"min_length": 6}),
        ({}, {"allowed_values": ("L",)}),
        ({"allowed_values": ("L", "P")}, {"allowed_values": ("L",)}),
        ({}, {"pattern": "[0-9]+"}),
        ({"classification": Classification.PERSONAL}, {}),
        ({}, {"label": "Lain"}),
        ({}, {"definition": "Lain", "example": "1", "source_path": "a.b"}),
    ],
)
def test_what_is_tightened_or_told_better_breaks_nothing(old, new):
    assert changes_of([make.field("x", **old)], [make.field("x", **new)])
    assert not verdict(make.field("x", **old), make.field("x", **new))


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (FieldType.INTEGER, "9", "10"),
        (FieldType.NUMBER, "9.5", "10"),
        (FieldType.DATE, "2026-01-09", "2026-01-10"),
        (FieldType.TIMESTAMP, "2026-01-10T08:00:00+07:00", "2026-01-10T02:00:00Z"),
    ],
)
def test_bounds_are_compared_as_values(kind, low, high):
    wide = make.field("x", kind, minimum=low, maximum=high)
    narrow_low = make.field("x", kind, minimum=high, maximum=high)
    narrow_high = make.field("x", kind, minimum=low, maximum=low)
    open_end = make.field("x", kind)
    for narrow in (narrow_low, narrow_high):
        assert verdict(narrow, wide)
        assert not verdict(wide, narrow)
    assert verdict(wide, open_end)
    assert not verdict(open_end, wide)


def test_a_bound_that_is_none_of_its_type_is_left_to_the_rules():
    odd = make.field("x", FieldType.INTEGER, minimum="satu")
    assert not verdict(odd, make.field("x", FieldType.INTEGER, minimum="1"))
    other = make.field("x", FieldType.DATE, minimum="2026-01-01")
    assert verdict(make.field("x", FieldType.INTEGER, minimum="1"), other)


def test_fields_that_come_and_go_and_their_order():
    more = make.field("lain")
    gone = changes_of([NIP, NAME, more], [NIP, NAME])
    assert [(each.field, each.is_breaking) for each in gone] == [("lain", True)]
    new = changes_of([NIP, NAME], [more, NAME, NIP])
    assert [(each.field, each.is_breaking) for each in new] == [("lain", False)]
    assert changes_of([NIP, NAME], [NAME, NIP]) == []
    both = changes_of([NIP, NAME], [NIP, more])
    assert [each.is_breaking for each in both] == [True, False]
    assert hit_fields(both) == {"nama"}


TERMS = {
    "required": (False, True),
    "min_length": (None, 1, 3),
    "max_length": (None, 3, 6),
    "pattern": ("", "a+", "[ab]{1,4}"),
    "allowed_values": ((), ("a", "ab"), ("a", "ab", "aaaaa")),
}
VALUES = (None, "", "a", "b", "ab", "aaa", "aaaaa", "b" * 7)


def keeps(spec, value):
    """Tell whether the decoder that pulls use accepts a value."""
    record = json.dumps([{"nip": "1", "x": value}]).encode()
    return not Decoder([NIP, spec]).decode(record).rejected


@pytest.mark.parametrize("column", TERMS)
def test_a_row_that_keeps_new_terms_that_break_nothing_keeps_the_old_ones(column):
    """Each change of one term, against every value: no row slips through the verdict."""
    slipped = 0
    for was, becomes in itertools.permutations(TERMS[column], 2):
        old, new = (make.field("x", **{column: each}) for each in (was, becomes))
        slips = [v for v in VALUES if keeps(new, v) and not keeps(old, v)]
        assert verdict(old, new) or not slips, (was, becomes, slips)
        slipped += len(slips)
    assert slipped, "the values tell the terms apart"


# --- who is told -------------------------------------------------------------------------------


@pytest.fixture
def published(bound):
    """A dataset of three fields that an agency receives two of, with a draft."""
    del bound
    fields = [NIP, NAME, make.field("golongan", max_length=5)]
    contract = make.make_contract(fields=fields)
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
    receiver = make.make_agency()
    make.make_agreement(dataset.id, receiver.id, fields=["nip", "golongan"])
    return contract, receiver, fields


def draft(contract, fields):
    return make.next_version(contract.id, fields)


def announced(draft_id):
    with make.session() as s:
        return announcing.announce(s, s.get_one(ContractVersion, draft_id))


def asked_for(contract):
    return make.request_activation(contract.id)


def test_who_is_hit_is_told_and_answers_before_it_is_active(published):
    contract, receiver, _fields = published
    loosened = [NIP, NAME, make.field("golongan", max_length=9)]
    ident = draft(contract, loosened)
    with pytest.raises(NotAnnouncedError, match="tell them first"):
        asked_for(contract)
    assert announced(ident) == 1
    with pytest.raises(NobodyToTellError):
        announced(ident)
    with pytest.raises(NotAnnouncedError, match="have not answered"):
        asked_for(contract)
    theirs = make.agency_principal(receiver.id)
    with make.session(theirs) as s:
        notice = s.scalars(sa.select(ChangeNotice)).one()
        with pytest.raises(LongRemarkError):
            announcing.answer(s, notice, "x" * (announcing.MAX_REMARK + 1))
        announcing.answer(s, notice, " siap \0")
        assert (notice.remark, notice.answered_by) == ("siap", theirs.label)
        with pytest.raises(AnsweredAlreadyError):
            announcing.answer(s, notice, "")
    assert asked_for(contract)
    with make.session(SYSTEM) as s:
        told = s.scalars(sa.select(Notice).where(Notice.agency_id == receiver.id)).all()
        assert any(each.path == f"/changes/details/?id={notice.id}" for each in told)


def test_what_was_changed_after_it_was_asked_for_is_not_activated_untold(published):
    contract, _receiver, fields = published
    ident = draft(contract, [NIP, NAME, make.field("golongan", max_length=4)])
    run_id = asked_for(contract)
    draft(contract, [NIP, NAME, make.field("golongan", max_length=9)])
    with acting_as(make.WORKER_PRINCIPAL), pytest.raises(NotAnnouncedError):
        activation.activate(make.claim(run_id))
    with make.session() as s:
        assert s.get_one(ContractVersion, ident).status is VersionStatus.DRAFT
        assert make.active_of(s, contract.id).specs() == tuple(fields)


def test_nobody_waits_once_the_time_of_notice_is_over(published):
    contract, _receiver, _fields = published
    ident = draft(contract, [NIP, NAME])
    announced(ident)
    with pytest.raises(NotAnnouncedError, match="have not answered") as error:
        asked_for(contract)
    assert error.value.params["days"] == 30
    with make.session() as s:
        notice = s.scalars(
            sa.select(ChangeNotice).where(ChangeNotice.version_id == ident)
        ).one()
        notice.due_at = db.now(s) - timedelta(seconds=1)
    with make.session() as s:
        version = s.get_one(ContractVersion, ident)
        announcing.require_announced(s, version)


def test_another_change_after_the_notice_is_told_anew(published):
    contract, _receiver, _fields = published
    ident = draft(contract, [NIP, NAME, make.field("golongan", max_length=9)])
    announced(ident)
    draft(contract, [NIP, NAME, make.field("golongan", max_length=20)])
    with pytest.raises(NotAnnouncedError, match="tell them first"):
        asked_for(contract)
    assert announced(ident) == 1


def test_a_change_of_what_nobody_receives_waits_for_nobody(published):
    contract, _receiver, _fields = published
    ident = draft(
        contract, [NIP, make.field("nama"), make.field("golongan", max_length=5)]
    )
    with make.session() as s:
        impact = announcing.impact_of(s, s.get_one(ContractVersion, ident))
    assert impact.is_breaking
    assert impact.hit == []
    with pytest.raises(NobodyToTellError):
        announced(ident)
    assert asked_for(contract)


def test_without_days_of_notice_they_are_told_and_nobody_waits(published):
    contract, _receiver, _fields = published
    ident = draft(contract, [NIP, NAME])
    with make.session() as s:
        office = s.scalars(sa.select(Office)).one()
        before, office.notice_days = office.notice_days, 0
    announced(ident)
    with make.session() as s:
        announcing.require_announced(s, s.get_one(ContractVersion, ident))
        s.scalars(sa.select(Office)).one().notice_days = before


def test_an_agreement_that_ended_is_not_asked(published):
    contract, _receiver, _fields = published
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        s.execute(
            sa.text("UPDATE agreement SET ended_at = now(), ended_because = 'uji'"
                    " WHERE dataset_id = :id"), {"id": dataset.id},
        )  # fmt: skip
    draft(contract, [NIP, NAME])
    assert asked_for(contract)


def test_what_is_unsound_is_not_announced(published):
    contract, _receiver, _fields = published
    ident = draft(contract, [NIP, NAME])
    with make.session() as s:
        save_fields(s, s.get_one(ContractVersion, ident), [NAME])  # no key
    with pytest.raises(ContractError):
        announced(ident)


def test_the_owner_of_the_data_sees_the_answer_and_gives_none(published):
    contract, _receiver, _fields = published
    ident = draft(contract, [NIP, NAME])
    announced(ident)
    owner = make.agency_principal(contract.agency_id)
    with make.session(owner) as s, acting_as(owner):
        notice = s.scalars(
            sa.select(ChangeNotice).where(ChangeNotice.version_id == ident)
        ).one()
        with pytest.raises(NotFoundError):
            announcing.answer(s, notice, "")


def test_a_first_version_changes_nothing_for_anybody(bound):
    del bound
    contract = make.make_contract(active=False)
    with make.session() as s:
        version = make.draft_of(s, contract.id)
        assert version.status is VersionStatus.DRAFT
        assert announcing.impact_of(s, version) == announcing.Impact((), (), {})
        assert activation.plan_for(s, version).steps
