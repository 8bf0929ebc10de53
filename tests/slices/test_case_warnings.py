"""Whom a slow case is told to."""

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from app.core.clock import utc_now
from app.core.policy import DISPATCHER
from app.notifications.models import Notice
from app.requests import reminders
from app.requests.states import Action, Role
from tests import make
from tests.town import WHY

pytestmark = pytest.mark.usefixtures("bound")


def remind(days: int, ident: UUID) -> list[tuple]:
    """Look at the clocks so many days later; return what is to be told, of this case."""
    with make.session(DISPATCHER) as s:
        s.execute(sa.delete(Notice))
    with make.session(DISPATCHER) as s:
        reminders.remind(s, "Asia/Jakarta", utc_now() + timedelta(days=days))
        told = s.scalars(
            sa.select(Notice)
            .where(Notice.path == f"/requests/{ident}")
            .order_by(Notice.id)
        ).all()
    return [(n.kind, n.agency_id is not None, n.roles) for n in told]


def test_a_step_warns_once_at_each_level_and_tells_higher_up(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_step(ident)  # coordination: three working days of the office
    team, data, head = "TIM_TEKNIS", "PENGAWAS_DATA", "ADMINISTRATOR"

    assert remind(0, ident) == []
    everybody = sorted([team, data, head, "PIMPINAN"])  # the whole is in danger, too
    assert remind(30, ident) == [("request_late", False, everybody)]
    assert remind(31, ident) == []


def test_what_is_the_agencys_move_is_told_to_the_agency(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 2)
    told = remind(60, ident)
    assert ("request_late", True, ["OPD_OPERATOR"]) in told
    assert any(not of_agency and "ADMINISTRATOR" in roles for _, of_agency, roles in told)


def test_what_rests_warns_nobody(town):
    ident = town.begin()
    town.hand_in(ident)
    town.act(ident, Action.HOLD, Role.PIMPINAN, **WHY)
    assert remind(60, ident) == []
