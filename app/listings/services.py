"""Saving views of lists."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.policy import Principal
from app.core.scope import NotFoundError, get_visible, visible
from app.listings.errors import NamelessError, TooManyViewsError
from app.listings.models import SavedView

MOST_VIEWS = 50
LONGEST_NAME = 80
LONGEST_QUERY = 8_000
KEPT = frozenset(
    {"search", "sort", "desc", "where", "cols"}
)  # of an address, but no place


def views_of(session: Session, principal: Principal, listed: str) -> Sequence[SavedView]:
    """Return the views of a list: one's own first, then those that others share."""
    is_others = SavedView.user_id != principal.user_id
    return session.scalars(
        sa.select(SavedView)
        .where(SavedView.listed == listed, visible(SavedView, principal))
        .order_by(is_others, sa.func.lower(SavedView.name), SavedView.id)
    ).all()


def kept_query(query: str) -> str:
    """Return what of an address belongs to a view, in one order."""
    pairs = parse_qsl(query[:LONGEST_QUERY], keep_blank_values=False)
    return urlencode([pair for pair in pairs if pair[0] in KEPT])


def save_view(
    session: Session,
    principal: Principal,
    listed: str,
    name: str,
    query: str,
    *,
    is_shared: bool,
) -> SavedView:
    """Save a view under a name; one's own of the same name is replaced.

    Raises ``NamelessError`` or ``TooManyViewsError``.
    """
    name = " ".join(name.replace("\0", "").split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise NamelessError
    own = [
        v for v in views_of(session, principal, listed) if v.user_id == principal.user_id
    ]
    view = next((each for each in own if each.name == name), None)
    if view is None:
        if len(own) >= MOST_VIEWS:
            raise TooManyViewsError(MOST_VIEWS)
        view = SavedView(
            user_id=principal.user_id,
            agency_id=principal.agency_id,
            listed=listed,
            name=name,
        )
        session.add(view)
    view.query, view.is_shared = kept_query(query), is_shared
    return view


def delete_view(session: Session, principal: Principal, ident: str) -> SavedView:
    """Delete a view of one's own; another's is not there."""
    view = get_visible(session, SavedView, ident, principal)
    if view.user_id != principal.user_id:
        raise NotFoundError
    session.delete(view)
    return view
