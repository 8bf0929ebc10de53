"""Pages of integrations and of changes, as staff and receivers press them."""

import re

import pytest
import sqlalchemy as sa

from app.contracts.models import Contract
from app.datasets.models import ChangeNotice, Dataset
from app.identity.passwords import hash_of
from app.integrations.models import Integration
from tests import make
from tests.web.conftest import PASSWORD, seen_in
from tests.web.test_import import figures, ident, look, send, workbook

COLUMNS = {"contract": 0, "system": 1, "document": 2, "reason": 3, "running_since": 4}
NIP = make.field("nip", is_key=True, required=True)


def text(answer) -> str:
    return answer.get_data(as_text=True)


@pytest.fixture
def team(log_in, people):
    return log_in(people["TIM_TEKNIS"])


@pytest.fixture
def contract():
    """A contract with a title of its own, whose rows another agency receives."""
    made = make.make_contract([NIP, make.field("nama", max_length=9)])
    with make.session() as s:
        made = s.get_one(Contract, made.id)
        made.title = make.word("Layanan ")
    return made


@pytest.fixture
def receiver(contract, log_in):
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
    agency = make.make_agency()
    make.make_agreement(dataset.id, agency.id)
    head = make.make_user("OPD_PIMPINAN", agency=agency, password=hash_of(PASSWORD))
    return log_in(head.email)


def take_over(team, contract, **more):
    form = {
        "contract": str(contract.id), "system": "SIMPEG", "document": "12/BA/2024",
        "running_since": "2024-03-04", "reason": "Sudah berjalan", **more,
    }  # fmt: skip
    return team.post("/integrations/new/", data=form, follow_redirects=True)


def entry_of(contract):
    with make.session() as s:
        return s.scalars(
            sa.select(Integration).where(Integration.contract_id == contract.id)
        ).first()


def test_what_ran_before_is_taken_over_with_document_and_reason(team, contract):
    refused = take_over(team, contract, reason=" ")
    assert "tanpa dua belas langkah" in text(refused)
    assert entry_of(contract) is None
    take_over(team, contract, server="srv-1", review_on="2020-01-01")
    entry = entry_of(contract)
    assert (entry.agency_id, entry.server) == (contract.agency_id, "srv-1")
    shown = text(team.get(f"/integrations/details/?id={entry.id}"))
    for said in (contract.title, "SIMPEG", "12/BA/2024", "Sudah berjalan", "berhenti"):
        assert said in shown
    assert "Hari peninjauan sudah lewat." in shown
    assert "/contract-files/version/" in shown
    again = take_over(team, contract)
    assert "sudah ada" in text(again)


def test_what_was_taken_over_keeps_its_reason(team, contract):
    take_over(team, contract)
    address = f"/integrations/edit/?id={entry_of(contract).id}"
    form = {
        "contract": str(contract.id), "system": "SIMPEG 2", "document": "12/BA/2024",
        "running_since": "2024-03-04",
    }  # fmt: skip
    seen = {"seen": seen_in(team, address)}
    refused = team.post(
        address, data=form | seen | {"reason": " "}, follow_redirects=True
    )
    assert "tanpa dua belas langkah" in text(refused)
    assert entry_of(contract).reason == "Sudah berjalan"
    seen = {"seen": seen_in(team, address)}
    team.post(address, data=form | seen | {"reason": "Berjalan sejak 2024"})
    assert (entry_of(contract).system, entry_of(contract).reason) == (
        "SIMPEG 2", "Berjalan sejak 2024",
    )  # fmt: skip


def test_what_a_case_has_built_leads_to_its_request(team, contract):
    take_over(team, contract, document="PMH/2026/0042 Integrasi")
    with make.session() as s:
        s.get_one(Integration, entry_of(contract).id).reason = ""
    shown = text(team.get(f"/integrations/details/?id={entry_of(contract).id}"))
    assert 'href="/requests/number/PMH/2026/0042"' in shown


def test_running_integrations_come_in_as_a_table_and_twice_changes_nothing(
    team, contract
):
    rows = workbook(
        ["Kontrak", "Sistem perangkat daerah", "Permohonan atau dokumen",
         "Alasan tanpa dua belas langkah", "Berjalan sejak"],
        [contract.title, "SIMPEG", "12/BA/2024", "Sudah berjalan", "2024-03-04"],
    )  # fmt: skip
    for wanted in ([1, 0, 0, 0], [0, 0, 1, 0]):
        one = ident(send(team, rows, listed="integrations"))
        assert figures(look(team, one, **COLUMNS)) == wanted
        team.post(f"/imports/{one}/apply")
        assert entry_of(contract).system == "SIMPEG"


def test_agencies_see_their_own_and_write_nothing(log_in, contract, team):
    take_over(team, contract)
    with make.session() as s:
        agency = s.get_one(Contract, contract.id).agency
    own = make.make_user("OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD))
    other = make.make_user(
        "OPD_OPERATOR", agency=make.make_agency(), password=hash_of(PASSWORD)
    )
    assert contract.title in text(log_in(own.email).get("/integrations/"))
    assert contract.title not in text(log_in(other.email).get("/integrations/"))
    assert log_in(own.email).get("/integrations/new/").status_code == 403


def test_what_ends_stands_by_its_day(team, contract):
    take_over(team, contract, tls_until="2026-12-01", review_on="2020-01-01")
    entry = entry_of(contract)
    with make.session() as s:
        day = s.scalar(sa.select(sa.func.current_date()))
        s.get_one(Integration, entry.id).tls_until = day
    shown = text(team.get("/expiring/"))
    assert "Sertifikat server" in shown
    assert contract.title in shown


# --- changes -----------------------------------------------------------------------------------


def test_a_change_is_shown_told_answered_and_then_activated(
    team, contract, receiver, log_in, people
):
    draft = make.next_version(contract.id, [NIP, make.field("nama", max_length=20)])
    admin = log_in(people["ADMINISTRATOR"])
    assert f"/changes/of/{draft}" in text(team.get(f"/contracts/versions/{draft}"))
    shown = text(team.get(f"/changes/of/{draft}"))
    assert "Panjang maksimal: 9 menjadi 20" in shown
    assert "dapat mengganggu" in shown
    told = team.post(f"/changes/of/{draft}", follow_redirects=True)
    assert "OPD yang diberi tahu: 1." in text(told)
    assert "semua yang terdampak sudah tahu" in text(
        team.post(f"/changes/of/{draft}", follow_redirects=True)
    )
    with make.session() as s:
        notice = s.scalars(
            sa.select(ChangeNotice).where(ChangeNotice.version_id == draft)
        ).one()
    plan = text(admin.get(f"/activation/{draft}"))
    digest = re.search(r'name="digest" value="(\w+)"', plan)[1]
    refused = admin.post(
        f"/activation/{draft}", data={"digest": digest}, follow_redirects=True
    )
    assert "belum menjawab" in text(refused)
    theirs = text(receiver.get(f"/changes/details/?id={notice.id}"))
    assert "Kami sudah tahu dan siap" in theirs
    assert receiver.get(f"/changes/of/{draft}").status_code == 403
    answered = receiver.post(
        f"/changes/{notice.id}/answer", data={"remark": "siap"}, follow_redirects=True
    )
    assert "Terjawab" in text(answered)
    assert "sudah menjawab" in text(
        receiver.post(f"/changes/{notice.id}/answer", follow_redirects=True)
    )
    assert "siap" in text(team.get(f"/changes/of/{draft}"))
    asked = admin.post(f"/activation/{draft}", data={"digest": digest})
    assert "/runs/" in asked.headers["Location"]


def test_only_drafts_have_something_to_tell(team, contract):
    with make.session() as s:
        active = make.active_of(s, contract.id).id
    assert team.get(f"/changes/of/{active}").status_code == 404
    assert team.post(f"/changes/of/{active}").status_code == 404


def test_a_version_says_what_changed_since_the_one_before(team, contract):
    draft = make.next_version(contract.id, [NIP, make.field("nama", max_length=5)])
    make.activate(contract.id)
    shown = text(team.get(f"/contracts/versions/{draft}"))
    assert "Yang berubah sejak versi 1" in shown
    assert "9 menjadi 5" in shown


def test_an_agency_asks_for_a_small_change_where_it_runs(team, contract, log_in):
    take_over(team, contract)
    with make.session() as s:
        agency = s.get_one(Contract, contract.id).agency
    operator = make.make_user("OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD))
    client = log_in(operator.email)
    shown = text(client.get(f"/integrations/details/?id={entry_of(contract).id}"))
    address = f"/requests/new?contract={contract.id}"
    assert f'href="{address}"' in shown
    assert address not in text(
        team.get(f"/integrations/details/?id={entry_of(contract).id}")
    )
    assert f"Perubahan {contract.title}" in text(client.get(address))
    begun = client.post(address, data={"title": "Ubah", "purpose": "x"})
    page = text(client.get(begun.headers["Location"]))
    assert "perubahan layanan berjalan" in page
    assert page.count('class="step-number"') == 5
    assert "Isi atau lampirkan suratnya" in page
    assert "daftar tenaga pengelola, serta" not in page
    other = make.make_user(
        "OPD_OPERATOR", agency=make.make_agency(), password=hash_of(PASSWORD)
    )
    assert log_in(other.email).get(address).status_code == 404
