"""Pages of complaints, as staff, agencies and people without a log-in press them."""

import re

import pytest
import sqlalchemy as sa

from app.complaints.models import Complaint, ComplaintSender
from app.complaints.states import State
from app.identity.passwords import hash_of
from app.office.models import Office
from tests import make
from tests.web.conftest import PASSWORD

FORM = {
    "kind": "complaint", "subject": "Tidak bisa diunduh", "text": "Berkas kosong",
}  # fmt: skip


def text(answer) -> str:
    return answer.get_data(as_text=True)


def person_of(log_in, *roles):
    agency = make.make_agency()
    user = make.make_user(*roles, agency=agency, password=hash_of(PASSWORD))
    return agency, log_in(user.email)


@pytest.fixture
def team(log_in, people):
    return log_in(people["TIM_TEKNIS"])


@pytest.fixture
def hearing():
    """The office hears everybody."""
    with make.session() as s:
        s.scalars(sa.select(Office)).one().hears_public = True
    yield
    with make.session() as s:
        s.scalars(sa.select(Office)).one().hears_public = False


def test_staff_enter_pass_on_and_answer(team, log_in):
    agency, client = person_of(log_in, "OPD_OPERATOR")
    form = FORM | {
        "channel": "lapor", "lapor_number": make.word("L"), "sender": "Budi", "contact": "0812",
    }  # fmt: skip
    address = team.post("/complaints/new", data=form).headers["Location"]
    assert "sudah ada" in text(team.post("/complaints/new", data=form))
    shown = text(team.get(address))
    for said in ("Tidak bisa diunduh", "Budi", "0812", "LAPOR!"):
        assert said in shown
    assert client.get(address).status_code == 404
    team.post(f"{address}/forward", data={"agency": str(agency.id)})
    theirs = text(client.get(address))
    assert "Tanggapan OPD Anda" in theirs
    assert "Budi" not in theirs
    assert "0812" not in theirs
    client.post(f"{address}/reply", data={"words": "Sudah kami perbaiki"})
    assert "Sudah kami perbaiki" in text(team.get(address))
    refused = client.post(f"{address}/answer", data={"words": "x"}, follow_redirects=True)
    assert "bukan oleh Anda" in text(refused)
    team.post(f"{address}/answer", data={"words": "Silakan unduh kembali"})
    assert "Silakan unduh kembali" in text(team.get(address))
    again = team.post(f"{address}/answer", data={"words": "x"}, follow_redirects=True)
    assert "tidak dapat dilakukan lagi" in text(again)


def test_an_agency_sends_and_reads_its_answer(team, log_in):
    _agency, client = person_of(log_in, "OPD_PIMPINAN")
    page = text(client.get("/complaints/new"))
    assert "Nomor pelacakan" not in page
    address = client.post("/complaints/new", data=FORM).headers["Location"]
    team.post(f"{address}/answer", data={"words": "Terima kasih"})
    assert "Terima kasih" in text(client.get(address))
    _other, stranger = person_of(log_in, "OPD_PIMPINAN")
    assert stranger.get(address).status_code == 404
    assert "Tidak bisa diunduh" not in text(stranger.get("/complaints/"))


@pytest.mark.parametrize(
    "form",
    [
        {},
        FORM | {"kind": "nothing"},
        FORM | {"subject": "x" * 201},
        FORM | {"text": "x" * 10_001},
        FORM | {"channel": "lapor"},
        FORM | {"channel": "portal"},
        FORM | {"channel": "letter", "received_on": "kemarin"},
        FORM | {"channel": "letter", "received_on": "1990-01-01"},
        FORM | {"channel": "letter", "case_number": "x\0y"},
    ],
)
def test_what_is_wrong_is_said_at_the_form(team, form):
    with make.session() as s:
        before = s.scalar(sa.select(sa.func.count()).select_from(Complaint))
    answer = team.post("/complaints/new", data=form)
    assert answer.status_code == 200
    with make.session() as s:
        assert s.scalar(sa.select(sa.func.count()).select_from(Complaint)) == before


@pytest.mark.parametrize("deed", ["nothing", "receive", "assign", "forward"])
def test_what_is_no_deed_or_names_nobody_is_not_there(team, deed):
    form = FORM | {"channel": "letter"}
    address = team.post("/complaints/new", data=form).headers["Location"]
    for data in ({}, {"person": "x", "agency": "x"}):
        assert team.post(f"{address}/{deed}", data=data).status_code == 404


@pytest.mark.parametrize("year", ["", "2020", "0000", "99999", "x", "٢٠٢٦", "-1"])
def test_counts_of_any_year(team, year):
    page = text(team.get("/complaints/counts", query_string={"year": year}))
    assert "permintaan informasi" in page


def test_the_form_for_everybody_is_off_by_itself(app):
    anybody = app.test_client()
    assert anybody.get("/complain/").status_code == 404
    assert anybody.post("/complain/", data=FORM).status_code == 404
    assert anybody.get("/complain/status?number=a&code=b").status_code == 404
    assert "/complain/" not in text(anybody.get("/service/"))


def test_anybody_tells_the_office_and_reads_the_answer_with_number_and_code(
    app, hearing, team
):
    anybody = app.test_client()
    assert 'href="/complain/"' in text(anybody.get("/service/"))
    page = text(anybody.get("/complain/"))
    assert "10 hari kerja" in page
    form = FORM | {"sender": "Siti <b>", "contact": "siti@contoh.test"}
    said = text(anybody.post("/complain/", data=form))
    number = re.search(r"ADU/\d{4}/\d{4}", said)[0]
    with make.session() as s:
        complaint = s.scalars(
            sa.select(Complaint).where(Complaint.number == number)
        ).one()
        sender = s.scalars(
            sa.select(ComplaintSender).where(ComplaintSender.complaint_id == complaint.id)
        ).one()
    assert complaint.code in said
    assert (sender.name, complaint.agency_id) == ("Siti <b>", None)
    team.post(f"/complaints/{complaint.id}/answer", data={"words": "Sudah baik"})
    marks = {"number": number, "code": complaint.code}
    shown = text(anybody.get("/complain/status", query_string=marks))
    assert "Sudah baik" in shown
    assert "siti@contoh.test" not in shown
    wrong = anybody.get("/complain/status", query_string=marks | {"code": "X"})
    assert wrong.status_code == 404


def test_a_program_that_fills_in_all_fields_is_not_heard(app, hearing):
    with make.session() as s:
        before = s.scalar(sa.select(sa.func.count()).select_from(Complaint))
    form = FORM | {"sender": "a", "contact": "b", "website": "http://x.test"}
    app.test_client().post("/complain/", data=form)
    with make.session() as s:
        assert s.scalar(sa.select(sa.func.count()).select_from(Complaint)) == before


def test_the_list_is_narrowed_to_what_waits(team):
    form = FORM | {"channel": "letter"}
    address = team.post("/complaints/new", data=form).headers["Location"]
    with make.session() as s:
        complaint = s.get_one(Complaint, address.rsplit("/", 1)[1])
        assert complaint.state is State.RECEIVED
    narrowed = f"/complaints/?search={complaint.number}&where=state:is:"
    row = f'href="{address}"'
    assert row in text(team.get(f"{narrowed}received"))
    assert row not in text(team.get(f"{narrowed}answered"))


def test_who_it_was_passed_on_to_does_not_read_who_sent_it(team, log_in):
    origin = make.make_agency()
    sender = make.make_user(
        "OPD_OPERATOR",
        agency=origin,
        name="Pengirim Rahasia",
        password=hash_of(PASSWORD),
    )
    agency, concerned = person_of(log_in, "OPD_OPERATOR")
    mine = log_in(sender.email)
    address = mine.post("/complaints/new", data=FORM).headers["Location"]
    team.post(f"{address}/forward", data={"agency": str(agency.id)})
    concerned.post(f"{address}/reply", data={"words": "Kata di antara kita"})
    theirs = text(concerned.get(address))
    assert "Kata di antara kita" in theirs
    assert "Pengirim Rahasia" not in theirs
    assert origin.name not in theirs
    assert "Kata di antara kita" not in text(mine.get(address))
    assert "Kata di antara kita" in text(team.get(address))


def test_the_office_notes_closes_and_takes_up_again(team, log_in):
    _agency, client = person_of(log_in, "OPD_OPERATOR")
    address = client.post("/complaints/new", data=FORM).headers["Location"]
    team.post(f"{address}/notes", data={"words": "Hanya di antara kita"})
    assert "Hanya di antara kita" in text(team.get(address))
    assert "Hanya di antara kita" not in text(client.get(address))
    assert client.post(f"{address}/notes", data={"words": "x"}).status_code == 403
    empty = team.post(f"{address}/notes", data={}, follow_redirects=True)
    assert "Belum ada yang tertulis" in text(empty)
    assert f"{address}/close" not in text(team.get(address))
    team.post(f"{address}/answer", data={"words": "Sudah"})
    team.post(f"{address}/close")
    assert "selesai" in text(client.get(address))
    team.post(f"{address}/reopen", data={"words": "Belum benar"})
    with make.session() as s:
        found = s.get_one(Complaint, address.rsplit("/", 1)[1])
        assert found.state is State.IN_HAND


def test_who_only_reads_does_not_see_who_sent_it(team, log_in, people):
    form = FORM | {"channel": "phone", "sender": "Budi Rahasia", "contact": "0812-3"}
    address = team.post("/complaints/new", data=form).headers["Location"]
    assert "Budi Rahasia" in text(team.get(address))
    read = text(log_in(people["AUDITOR"]).get(address))
    assert "Tidak bisa diunduh" in read
    assert "Budi Rahasia" not in read
    assert "0812-3" not in read


def test_too_many_words_are_said_and_nothing_is_answered(team):
    form = FORM | {"channel": "letter"}
    address = team.post("/complaints/new", data=form).headers["Location"]
    data = {"words": "x" * 10_001}
    said = text(team.post(f"{address}/answer", data=data, follow_redirects=True))
    assert "10000" in said.replace(".", "")
    with make.session() as s:
        found = s.get_one(Complaint, address.rsplit("/", 1)[1])
        assert found.state is State.RECEIVED


def test_counts_stand_by_kind_channel_month_and_state(team):
    page = text(team.get("/complaints/counts"))
    for said in (
        "Menurut jenis",
        "Menurut saluran",
        "Menurut bulan",
        "Januari",
        "Desember",
    ):
        assert said in page
