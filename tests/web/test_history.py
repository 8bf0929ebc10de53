"""An object's page tells its history, to who may read the trail."""

from app.core.db import because
from app.identity.models import Agency
from tests import make


def changed(name: str):
    """An agency that was made and then changed, with a reason."""
    agency = make.make_agency(name=name, phone="0761-1")
    with make.session() as s:
        because(s, "nomor pindah")
        s.get_one(Agency, agency.id).phone = "0761-<b>2</b>"
    return agency.id


def test_an_objects_page_tells_who_changed_what_and_why(log_in, people):
    name = make.word("Dinas Riwayat ")
    ident, other = changed(name), changed(make.word("Dinas Lain "))
    page = log_in(people["SEMUA"]).get(f"/agencies/details/?id={ident}")
    text = page.get_data(as_text=True)
    history = text[text.index("<h2>Riwayat</h2>") :]
    assert "nomor pindah" in history
    assert "<dt>Telepon</dt>" in history
    assert "0761-&lt;b&gt;2&lt;/b&gt;" in history  # as it is, and once
    assert "<b>2</b>" not in history
    assert history.index("berubah") < history.index("dibuat")  # newest first
    assert str(other) not in text


def test_who_may_not_read_the_trail_sees_no_history(log_in, people):
    ident = changed(make.word("Dinas Tertutup "))
    page = log_in(people["TIM_TEKNIS"]).get(f"/agencies/details/?id={ident}")
    text = page.get_data(as_text=True)
    assert page.status_code == 200
    assert "Riwayat" not in text
    assert "nomor pindah" not in text
