"""Deny by default: every route has a policy, and the guard asks it before the view runs.

A policy hangs on the view function (``needs``, ``signed_in``, ``open_to_all``), on an admin
view's class (``permissions``), or in ``EXTENSION_ROUTES`` for routes that extensions add. A
route without one answers 404; a law test walks the map and fails on it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

from flask import Flask, abort, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import orm

from app.core.db import unit_of_work
from app.core.policy import (
    ANONYMOUS,
    DbRole,
    Permission,
    Principal,
    act_as,
    acting_as,
    acting_principal,
    set_request_id,
)
from app.web.extensions import db

F = TypeVar("F", bound=Callable[..., Any])


class Everyone:
    """Policy: no log-in needed."""


class SignedIn:
    """Policy: any person who is logged in; the page shows only what is theirs."""


class Shut:
    """Policy: a library's route that nothing here uses; it answers 404 to everybody."""


Policy = Permission | type[Everyone] | type[SignedIn] | type[Shut]
_ATTRIBUTE = "route_policy"
LOOKING_ON = "looking on"  # why a change is refused to who looks on as an agency

EXTENSION_ROUTES: Mapping[str, Policy] = MappingProxyType(
    {
        "static": Everyone,
        "bootstrap.static": Everyone,
        "security.login": Everyone,
        "security.logout": SignedIn,
        "security.change_password": SignedIn,
        "security.verify": SignedIn,
        "security.forgot_password": Everyone,
        "security.reset_password": Everyone,
        "security.two_factor_setup": Everyone,  # also in the middle of a log-in
        "security.two_factor_setup_validate": SignedIn,
        "security.two_factor_token_validation": Everyone,
        "security.two_factor_rescue": Shut,
        "security.tf_select": Everyone,
        "security.mf_recovery": Everyone,
        "security.mf_recovery_codes": SignedIn,
        "security.wan_signin": Everyone,
        "security.wan_signin_response": Everyone,
        "security.wan_register": SignedIn,
        "security.wan_register_response": SignedIn,
        "security.wan_delete": SignedIn,
        "security.wan_verify": SignedIn,
        "security.wan_verify_response": SignedIn,
        "home.static": Shut,
    }
)


# Where a person changes their own row of the people: only the log-in's role may write it,
# whatever the person's own may do. Who acts, for the audit, is still the person.
_AS_LOG_IN = frozenset(
    {
        "security.change_password",
        "security.verify",
        "security.two_factor_setup",
        "security.two_factor_setup_validate",
        "security.two_factor_token_validation",
        "security.mf_recovery_codes",
        "security.wan_register",
        "security.wan_register_response",
        "security.wan_delete",
        "security.wan_verify",
        "security.wan_verify_response",
    }
)
# What a person may do who must go through a detour first.
_ON_THE_WAY = frozenset(
    {
        "security.logout",
        "security.verify",
        "security.two_factor_setup_validate",
        "security.two_factor_token_validation",
        "home.language",
    }
)


def needs(permission: Permission) -> Callable[[F], F]:
    """Mark a view: only who holds the permission may call it."""

    def mark(view: F) -> F:
        setattr(view, _ATTRIBUTE, permission)
        return view

    return mark


def signed_in(view: F) -> F:
    """Mark a view: every logged-in person may call it."""
    setattr(view, _ATTRIBUTE, SignedIn)
    return view


def open_to_all(view: F) -> F:
    """Mark a view: it needs no log-in."""
    setattr(view, _ATTRIBUTE, Everyone)
    return view


def policy_of(app: Flask, endpoint: str) -> Policy | None:
    """Return the policy of a route; None means that it has none and stays shut."""
    if endpoint in EXTENSION_ROUTES:
        return EXTENSION_ROUTES[endpoint]
    function = app.view_functions[endpoint]
    admin_view = app.extensions["simpul_admin_views"].get(endpoint.partition(".")[0])
    if admin_view is not None:
        policy: Policy | None = admin_view.policy_of(endpoint.partition(".")[2])
        return policy
    marked: Policy | None = getattr(function, _ATTRIBUTE, None)
    return marked


def policy_mark(function: Any) -> Policy | None:
    """Return what ``needs`` and its siblings wrote on a function."""
    mark: Policy | None = getattr(function, _ATTRIBUTE, None)
    return mark


@contextmanager
def as_log_in() -> Iterator[orm.Session]:
    """Yield a session that may write what the log-in's role alone may, in one's own name.

    Whether it may be done at all is asked before, in one's own role.
    """
    own = replace(acting_principal(), db_role=DbRole.SYSTEM)
    with acting_as(own), unit_of_work() as session:
        yield session


def begin(app: Flask) -> None:
    """Say who acts before any extension asks the database for the session's person.

    Must be the first hook of the application: Flask-Security has one of its own.
    """

    @app.before_request
    def nobody_yet() -> None:
        act_as(ANONYMOUS)
        g.request_id = uuid4().hex
        set_request_id(g.request_id)

    @app.teardown_request
    def forget(_error: BaseException | None) -> None:
        act_as(None)


def init_app(
    app: Flask,
    load_principal: Callable[[], Principal],
    detour: Callable[[], str | None],
) -> None:
    """Put the guard before every request.

    ``load_principal`` says who the session is, ``detour`` names the page that its person
    must go through before anything else.
    """

    @app.before_request
    def guard() -> ResponseReturnValue | None:
        if request.endpoint is None:
            return None  # no such address, or not by this method: Flask answers
        policy = policy_of(app, request.endpoint)
        if policy is None or policy is Shut:
            abort(404)
        if policy is Everyone and request.endpoint.endswith("static"):
            return None
        principal = load_principal()
        _end_transaction(db.session())  # the next one takes the person's role
        if request.endpoint in _AS_LOG_IN and principal.user_id is not None:
            act_as(replace(principal, db_role=DbRole.SYSTEM))
        else:
            act_as(principal)
        return (
            _refusal(policy, principal) or _diversion(principal, detour) or _only_where()
        )


def _end_transaction(session: orm.Session) -> None:
    """End a transaction that only read, and keep what it read: who asks, and their roles."""
    read = list(session)
    session.expunge_all()
    session.rollback()
    session.add_all(read)


def _only_where() -> ResponseReturnValue | None:
    """Answer a page that was sent elsewhere with its upload, and opens that place itself.

    What is to be said there must not be spent upon this look at where it is.
    """
    if request.method == "GET" and "X-Only-Where" in request.headers:
        return "", 204
    return None


def _refusal(policy: Policy, principal: Principal) -> ResponseReturnValue | None:
    if principal.read_only and (
        request.method not in {"GET", "HEAD"} or request.endpoint in _AS_LOG_IN
    ):
        abort(403, LOOKING_ON)
    if policy is Everyone:
        return None
    if principal is ANONYMOUS:
        if request.method == "GET":
            return redirect(url_for("security.login", next=request.full_path.rstrip("?")))
        abort(401)
    if isinstance(policy, Permission) and not principal.may(policy):
        abort(403)
    return None


def _diversion(
    principal: Principal, detour: Callable[[], str | None]
) -> ResponseReturnValue | None:
    """Send a person where they must go first; None when they may go on."""
    if principal is ANONYMOUS or request.endpoint in _ON_THE_WAY:
        return None
    first = detour()
    if first is None or request.endpoint == first:
        return None
    return redirect(url_for(first))


def principal_now() -> Principal:
    """Return who asks; views use it for scope and for what to show."""
    return acting_principal()
