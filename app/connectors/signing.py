"""Signing in: puts keys and tokens into a request, and gets new ones when they are refused."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.connectors import errors
from app.connectors.addresses import parse_url
from app.connectors.asking import Asking, put
from app.connectors.guard import GuardedClient, header_fields
from app.connectors.settings import TOKEN_WAYS, SignRule

NEXT = "_next"  # a key that will take over: tried when the present one is refused
_MAX_TOKEN = 8_000


class Signer:
    """All ways of signing in of one reading. Keeps tokens for as long as it lives."""

    def __init__(self, rules: Sequence[SignRule], secrets: Mapping[str, str]) -> None:
        """Check what needs no network; errors name the setting, never the value."""
        self._ways = [_Way(rule, secrets) for rule in rules]

    def prepare(self, client: GuardedClient) -> None:
        """Get the tokens that are missing."""
        for way in self._ways:
            way.prepare(client)

    def sign(self, asking: Asking) -> None:
        for way in self._ways:
            way.sign(asking)

    def renew(self) -> bool:
        """After a 401: forget tokens, take the next keys; False when nothing is left."""
        renewed = [way.renew() for way in self._ways]  # all of them: no short cut
        return any(renewed)

    def accepted(self) -> None:
        """A request was let in: a later 401 may be met by a fresh token again."""
        for way in self._ways:
            way.renewed = False

    def hidden(self, text: str) -> str:
        """``text`` without the keys it may hold: what is stored or shown of an address."""
        for way in self._ways:
            text = way.hidden(text)
        return text


class _Way:
    def __init__(self, rule: SignRule, secrets: Mapping[str, str]) -> None:
        self._rule = rule
        keys = [secrets.get(rule.key, ""), secrets.get(rule.key + NEXT, "")]
        self._keys = [key for key in keys if key]
        self._token = ""
        self.renewed = False
        if not self._keys:
            raise errors.SourceSettingsError("The key of the service is missing")
        if rule.way in TOKEN_WAYS and not rule.token_url:
            raise errors.SourceSettingsError(
                "The address that gives the token is missing"
            )
        if rule.way not in TOKEN_WAYS:
            for key in self._keys:
                probe = Asking("", method="POST")
                _put_in(rule, key, probe)
                header_fields(probe.headers)
                _require_cookie(probe.cookie)

    def prepare(self, client: GuardedClient) -> None:
        if self._rule.way in TOKEN_WAYS and not self._token:
            self._token = _fetch_token(self._rule, self._keys, client)

    def sign(self, asking: Asking) -> None:
        _put_in(self._rule, self._token or self._keys[0], asking)

    def renew(self) -> bool:
        if self.renewed:
            return False
        self.renewed = True
        if self._rule.way in TOKEN_WAYS:
            self._token = ""
            return True
        self._keys = self._keys[1:] + self._keys[:1]
        return len(self._keys) > 1

    def hidden(self, text: str) -> str:
        for key in filter(None, [*self._keys, self._token]):
            text = text.replace(key, "{key}")
        return text


def _put_in(rule: SignRule, key: str, asking: Asking) -> None:
    """Put a key or token where the rule says."""
    if rule.way == "query":
        asking.query[rule.name] = key
    elif rule.way == "path":
        asking.places["key"] = key
    elif rule.way == "cookie":
        asking.cookie = "; ".join(filter(None, [asking.cookie, f"{rule.name}={key}"]))
    elif rule.way == "body":
        asking.body = put(asking.body, rule.name, key)
    else:
        _put_in_header(rule, key, asking)


def _put_in_header(rule: SignRule, key: str, asking: Asking) -> None:
    if rule.way == "basic":
        pair = f"{rule.user or rule.name}:{key}".encode()
        asking.headers["Authorization"] = "Basic " + base64.b64encode(pair).decode(
            "ascii"
        )
    elif rule.way == "header":
        asking.headers[rule.name] = rule.prefix + key
    elif rule.way == "bearer":
        asking.headers["Authorization"] = f"Bearer {key}"
    else:  # a token that was fetched
        asking.headers[rule.name] = rule.prefix + key


def _require_cookie(cookie: str) -> None:
    if cookie and not (cookie.isascii() and cookie.isprintable() and ";" not in cookie):
        raise errors.SourceSettingsError("The cookie holds forbidden characters")


def _fetch_token(rule: SignRule, keys: Sequence[str], client: GuardedClient) -> str:
    """Ask for a token with the first key, and with the next one when that is refused."""
    *others, last = keys
    for key in others:
        try:
            return _token_for(rule, key, client)
        except errors.SourceRefusedError as error:
            if error.code != "login_refused":
                raise
    return _token_for(rule, last, client)


def _token_for(rule: SignRule, key: str, client: GuardedClient) -> str:
    asking = _token_asking(rule, key)
    content, kind = asking.content()
    if kind:
        asking.headers["Content-Type"] = kind
    try:
        answer = client.send("POST", asking.address(), asking.headers, content)
    except errors.SourceRefusedError as error:
        if error.code not in {"http_401", "http_403", "http_4xx"}:
            raise
        status = error.params.get("status", "")
        raise errors.login_refused(_host(rule), status) from error
    return _token_in(answer.body, rule)


def _token_asking(rule: SignRule, key: str) -> Asking:
    if rule.way == "oauth2":
        asking = Asking(rule.token_url, method="POST", body_kind="form")
        pair = f"{rule.user}:{key}".encode()
        asking.headers["Authorization"] = "Basic " + base64.b64encode(pair).decode(
            "ascii"
        )
        asking.body = {"grant_type": "client_credentials", **rule.fields}
        if rule.scope:
            asking.body["scope"] = rule.scope
        return asking
    asking = Asking(rule.token_url, method="POST")
    asking.body_kind = "json" if rule.as_json else "form"
    for name, value in rule.fields.items():
        filled = value.replace("{user}", rule.user).replace("{key}", key)
        asking.body = put(asking.body, name, filled)
    return asking


def _token_in(body: bytes, rule: SignRule) -> str:
    """The token at the rule's path of a log-in's answer."""
    try:
        found: Any = msgspec.json.decode(body)
        for part in filter(None, rule.token_path.split(".")):
            found = found[int(part)] if isinstance(found, list) else found[part]
    except (msgspec.DecodeError, KeyError, IndexError, ValueError, TypeError) as error:
        raise errors.no_token(_host(rule), rule.token_path) from error
    usable = isinstance(found, str) and found.isascii() and found.isprintable()
    if not usable or not 0 < len(found) <= _MAX_TOKEN:
        raise errors.no_token(_host(rule), rule.token_path)
    return str(found)


def _host(rule: SignRule) -> str:
    return parse_url(rule.token_url).host
