"""Records that come as they were published are known; nothing else is."""

import pytest
import sqlalchemy as sa

from app.connectors.base import DIGEST_BYTES
from app.contracts.states import LoadMode
from app.core import db
from app.core.policy import WORKER, acting_as
from app.pulls.answers import FormerAnswer
from app.pulls.models import AnswerPage
from app.runs.models import RunLog
from app.runs.states import RunStatus
from app.runs.sweeps import WorkerLostError
from jobs.worker import report_lost
from tests import make
from tests.slices.test_pull import (
    counts,
    dump,
    history,
    people,
    person,
    quarantined,
    rows,
)

pytestmark = pytest.mark.usefixtures("bound")


@pytest.fixture
def pull(yard, upstream):
    """Pull ``records`` of a source and return the run with ``known``: how many it knew."""
    sources = {}

    def do(contract, records=None, *, name="satu", run_id=None, fault=""):
        if records is not None:
            upstream.records = records
        key = (contract.id, name)
        if key not in sources:
            sources[key] = make.make_source(contract, f"{upstream.url}?s={name}")
        run_id = run_id or make.request_pull(sources[key])
        yard.run(run_id, fault)
        run = make.run_of(run_id)
        run.known = known_in(run_id)
        return run

    return do


def known_in(run_id):
    with make.session() as s:
        told = s.scalars(
            sa.select(RunLog.params).where(
                RunLog.run_id == run_id, RunLog.message.startswith("All pages are read")
            )
        ).all()
    return told[-1]["known"] if told else None


def remembered(run_id):
    with make.session(make.WORKER_PRINCIPAL) as s:
        pages = s.scalars(
            sa.select(AnswerPage.digests)
            .where(AnswerPage.run_id == run_id)
            .order_by(AnswerPage.page)
        ).all()
    blank = bytes(DIGEST_BYTES)
    whole = b"".join(pages)
    each = [whole[at : at + DIGEST_BYTES] for at in range(0, len(whole), DIGEST_BYTES)]
    return [digest != blank for digest in each]


def test_what_has_not_changed_is_known_and_what_has_is_judged(pull):
    contract = make.make_contract()
    first = pull(contract, people(35))
    assert first.known == 0
    assert remembered(first.id) == [True] * 35

    second = pull(contract)
    assert (second.known, counts(second)) == (35, {"read": 35, "unchanged": 35})
    assert remembered(first.id) == []  # only the last answer is remembered

    records = people(35)
    records[17]["nama"] = "Siti Aminah"
    third = pull(contract, records)
    assert (third.known, counts(third)) == (
        34,
        {"read": 35, "unchanged": 34, "changed": 1},
    )
    assert rows(contract, where="nip = '0017'") == [("0017", "Siti Aminah", 1017)]


def test_a_record_that_moved_by_less_than_a_page_is_still_known(pull):
    contract = make.make_contract()
    pull(contract, people(40))
    run = pull(contract, [person(90), person(91), *people(40)])
    assert run.known == 40
    assert counts(run) == {"read": 42, "unchanged": 40, "inserted": 2}
    run = pull(
        contract, people(40)[::-1]
    )  # turned round: hardly anything is where it was
    assert counts(run) == {"read": 40, "unchanged": 40, "vanished": 2}
    assert rows(contract, "nip", "_deleted_at IS NOT NULL") == [("0090",), ("0091",)]


def test_known_records_do_not_hide_what_vanished_returned_or_came(pull):
    contract = make.make_contract(max_vanished_percent=50)
    pull(contract, people(40))
    run = pull(contract, [*people(38), person(90)])
    assert (run.known, counts(run)) == (
        38, {"read": 39, "unchanged": 38, "inserted": 1, "vanished": 2},
    )  # fmt: skip
    run = pull(contract, people(40))
    assert (run.known, counts(run)) == (
        38, {"read": 40, "unchanged": 38, "inserted": 2, "vanished": 1},
    )  # fmt: skip
    assert history(contract, "nip, _ended_as") == [
        ("0038", "vanished"), ("0038", "returned"),
        ("0039", "vanished"), ("0039", "returned"), ("0090", "vanished"),
    ]  # fmt: skip


def test_the_same_again_written_otherwise_is_judged_and_changes_nothing(pull):
    contract = make.make_contract()
    pull(contract, people(20))
    before = dump(contract)
    run = pull(contract, [dict(reversed(each.items())) for each in people(20)])
    assert (run.known, counts(run)) == (0, {"read": 20, "unchanged": 20})
    assert dump(contract) == before


def test_a_broken_record_is_told_in_every_pull(pull):
    contract = make.make_contract()
    records = [*people(20), person(50, gaji="x")]
    for known in (0, 20):
        run = pull(contract, records)
        assert run.known == known
        assert [q.record_key for q in quarantined(run.id)] == ["0050"]
        assert remembered(run.id) == [True] * 20 + [False]


def test_doubles_are_settled_alike_whether_known_or_not(pull):
    contract = make.make_contract()
    pull(contract, people(20))
    records = [*people(20), person(5), person(6, name="Orang lain")]
    for _ in range(2):
        run = pull(contract, records)
        assert counts(run) == {"read": 22, "unchanged": 19, "repeated": 1, "rejected": 2}
        aside = quarantined(run.id)
        assert [(q.page, q.position) for q in aside] == [(0, 6), (2, 1)]
        # Neither of the two that contradict each other, nor the repetition.
        assert remembered(run.id) == [n not in {6, 20, 21} for n in range(22)]
    assert ("0006", "Siti", 1006) in rows(contract)
    run = pull(contract, people(20))
    assert counts(run) == {"read": 20, "unchanged": 20}


def test_doubles_in_the_very_first_answer_are_settled(pull):
    contract = make.make_contract(max_rejected_percent=50)
    run = pull(contract, [*people(5), person(1), person(2, name="Lain")])
    assert counts(run) == {"read": 7, "inserted": 4, "repeated": 1, "rejected": 2}
    assert [row[0] for row in rows(contract)] == ["0000", "0001", "0003", "0004"]


def test_a_vanished_row_is_not_made_up_for_by_a_broken_record_of_a_known_one(pull):
    contract = make.make_contract()
    pull(contract, people(20))
    run = pull(contract, [*people(19), person(3, gaji="x")])
    assert counts(run) == {"read": 20, "unchanged": 19, "rejected": 1, "vanished": 1}


def test_another_sources_answer_changes_what_is_known(pull):
    contract = make.make_contract(load_mode=LoadMode.UPSERT)
    pull(contract, people(20), name="satu")
    pull(contract, [person(3, name="Lain")], name="dua")
    run = pull(contract, people(20), name="satu")
    assert counts(run) == {"read": 20, "unchanged": 19, "changed": 1}
    assert ("0003", "Siti", 1003) in rows(contract)


def test_a_held_pull_leaves_the_published_answer_known(pull):
    contract = make.make_contract()
    pull(contract, people(20))
    held = pull(contract, people(10))
    assert (held.status, held.known) == (RunStatus.HELD, 10)
    run = pull(contract, people(20))
    assert (run.known, counts(run)) == (20, {"read": 20, "unchanged": 20})
    assert remembered(held.id) == []


def test_a_stage_that_a_crash_has_emptied_is_filled_again(pull, upstream):
    contract = make.make_contract()
    pull(contract, people(40))
    records = people(40)
    records[0]["nama"] = records[39]["nama"] = "Baru"
    upstream.asked.clear()
    killed = pull(contract, records, fault="page_committed:2")
    assert killed.status is RunStatus.RUNNING
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.execute(sa.text(f'TRUNCATE stage."{contract.slug}__v1"'))
    report_lost(killed.id, killed.worker, WorkerLostError())
    make.make_due(killed.id)
    run = pull(contract, run_id=killed.id)
    assert counts(run) == {"read": 40, "unchanged": 38, "changed": 2}
    assert upstream.asked[1] == upstream.asked[2] == 2


def digest(number):
    return number.to_bytes(DIGEST_BYTES, "big")


def test_each_digest_is_recognised_once_also_after_a_resume(pull):
    contract = make.make_contract()
    former, own = pull(contract, people(3)).id, pull(contract, people(3)).id
    source_id = make.run_of(own).params["source_id"]
    answer = [b"".join(map(digest, page)) for page in ([1, 2], [3, 4], [5, 6])]
    with acting_as(WORKER), db.unit_of_work() as session:
        session.execute(sa.delete(AnswerPage).where(AnswerPage.run_id == own))
        for run_id in (former, own):
            for page, digests in enumerate(answer[: 3 if run_id == former else 1]):
                session.add(
                    AnswerPage(
                        run_id=run_id, source_id=source_id, page=page, digests=digests
                    )
                )
        session.flush()
        fresh = FormerAnswer(former, own)
        resumed = FormerAnswer(former, own)
        fresh.read(session, 0)
        resumed.read(session, 1)
        session.rollback()

    assert fresh.known(0, b"".join(map(digest, [1, 1]))) == [True, False]
    assert fresh.known(1, b"".join(map(digest, [2, 3]))) == [True, True]
    assert fresh.known(2, b"".join(map(digest, [3, 4]))) == [False, True]
    # Page 0 of the attempt before has recognised 1 and 2.
    assert resumed.known(1, b"".join(map(digest, [2, 3, 5]))) == [False, True, True]
    assert resumed.known(2, b"".join(map(digest, [5, 6]))) == [False, True]


def test_a_checkpoint_of_an_older_version_is_begun_anew(pull, upstream):
    contract = make.make_contract()
    killed = pull(contract, people(40), fault="page_committed:2")
    report_lost(killed.id, killed.worker, WorkerLostError())
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.execute(sa.text(f'TRUNCATE stage."{contract.slug}__v1"'))
        s.execute(
            sa.text(
                "UPDATE job_run SET checkpoint = checkpoint - 'staged' - 'known'"
                " - 'former_run_id' WHERE id = :id"
            ),
            {"id": killed.id},
        )
    make.make_due(killed.id)
    run = pull(contract, run_id=killed.id)
    assert counts(run) == {"read": 40, "inserted": 40}
