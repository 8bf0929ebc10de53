"""A look at a service before anything is saved: few records, short time, nothing unmasked.

``look`` runs in a process of its own (``python -m app.connectors.looking``) that is given an
order on its standard input and knows neither the database nor any key of ours but the one
that the request needs.
"""

import os
import re
import resource
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import msgspec

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts
from app.connectors.guard import Answer, Exchange
from app.connectors.masking import HIDDEN as _HIDDEN, mask, masked_json
from app.connectors.presets import recognised
from app.connectors.registry import settings_of
from app.connectors.rest_json import RestJsonConnector
from app.connectors.sampling import FoundField, Sample, sample_of
from app.connectors.settings import RestJsonSettings
from app.core.errors import SimpulError

SECONDS = 20.0
_MEMORY_BYTES = 1 << 30
_SHOWN_CHARS = 6_000
_READ_BYTES = 64 * 1024  # of a text; the keys in it are hidden before it is cut
_MAX_DEPTH = 50
_ESCAPED = re.compile("%[0-9A-F]{2}")
_LIMITS = {"connect_seconds": 5.0, "read_seconds": 8.0, "page_seconds": 12.0,
           "page_bytes": 16 * 1024 * 1024, "max_pages": 2}  # fmt: skip
_FEW = 25
_MAX_SHOWN = 6
_CLOSED_HEADERS = frozenset(
    {"authorization", "cookie", "set-cookie", "proxy-authorization"}
)


class LookOrder(msgspec.Struct, frozen=True):
    """What to look at, with which keys, and to which pairs requests may go (``ReadOrder``)."""

    settings: dict[str, Any]
    secrets: dict[str, str]
    approved_hosts: list[str]
    since: str = ""
    intranet: list[str] = []


class Shown(msgspec.Struct, frozen=True):
    """One request and its answer, as a page may show them."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str
    status: int | None
    answer_headers: list[tuple[str, str]]
    answer: str
    seconds: float = 0.0


class Said(msgspec.Struct, frozen=True):
    """A finding: a message id with its parameters. ``level``: good, warn or bad."""

    level: str
    message: str
    params: dict[str, Any] = {}
    code: str = ""


class Look(msgspec.Struct, frozen=True):
    """Everything a look brought. ``proposal`` holds settings that fit better."""

    findings: list[Said]
    shown: list[Shown] = []
    sample: Sample | None = None
    proposal: dict[str, Any] = {}
    preset: str = ""


def look_apart(order: LookOrder, seconds: float = SECONDS) -> Look:
    """Look in a process of its own; never raises for what a service does."""
    root = Path(__file__).resolve().parents[2]
    clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "app.connectors.looking"],
            input=msgspec.json.encode(order),
            capture_output=True,
            cwd=root,
            env=clean,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Look([Said("bad", "The look took longer than %(seconds)s seconds and was"
                          " broken off.", {"seconds": f"{seconds:g}"}, "too_slow")])  # fmt: skip
    try:
        return msgspec.json.decode(done.stdout, type=Look)
    except msgspec.DecodeError:
        return Look([Said("bad", "The look ended without a result: the answer was too large"
                          " or could not be taken apart.", {}, "look_lost")])  # fmt: skip


def look(order: LookOrder) -> Look:
    """Ask the service once, and for its first two pages, and say what was found."""
    watched: list[Exchange] = []
    veil = _Veil(order)
    try:
        typed = settings_of(order.settings)
        few = {"page_size": min(typed.page_size, _FEW)}
        settings = msgspec.structs.replace(typed, **_LIMITS, **few)
        veil.knows(settings)
        connector = RestJsonConnector(
            settings,
            approved=ApprovedHosts(order.approved_hosts, order.intranet),
            secrets=order.secrets,
            since=order.since,
            watch=watched.append,
        )
        veil.connector = connector
        answer = connector.first_answer()
        found = _looked_into(settings, connector, answer, veil)
        better = {k: v for k, v in found.proposal.items() if getattr(typed, k) != v}
        found = msgspec.structs.replace(found, proposal=better)
    except SimpulError as error:
        found = Look([_failed(error)])
    shown = [veil.exchange(each) for each in watched[:_MAX_SHOWN]]
    return msgspec.structs.replace(
        found,
        shown=shown,
        findings=[veil.said(each) for each in found.findings],
        sample=found.sample and veil.sample(found.sample),
    )


def _looked_into(
    settings: RestJsonSettings,
    connector: RestJsonConnector,
    answer: Answer,
    veil: "_Veil",
) -> Look:
    findings = [_said("good", "The service answers: HTTP %(status)s, %(bytes)s bytes in"
                      " %(seconds)s seconds.", status=answer.status, bytes=len(answer.body),
                      seconds=f"{answer.elapsed_seconds:.2f}")]  # fmt: skip
    try:
        decoded = veil.value(
            msgspec.json.decode(answer.body.removeprefix(b"\xef\xbb\xbf"))
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        findings.append(_not_json(answer))
        return Look(findings)
    given = settings.rows_path or None
    sample = sample_of(decoded, given, settings.inner_path)
    if sample.rows_path is None and given:
        findings.append(
            _said("bad", "There is no list of records at %(path)s.", path=given)
        )
        sample = sample_of(decoded, None, settings.inner_path)
    preset = recognised(decoded)
    proposal = _proposal(settings, sample, answer, preset.settings if preset else {})
    findings += _about_sample(sample)
    findings += _about_pages(settings, connector, sample)
    return Look(
        findings=findings,
        sample=sample,
        proposal=proposal,
        preset=preset.name if preset else "",
    )


def _said(level: str, message: str, **params: Any) -> Said:
    return Said(level, message, params)


def _failed(error: SimpulError) -> Said:
    params = msgspec.to_builtins(dict(error.params), enc_hook=str)
    return Said("bad", error.message, params, error.code)


def _not_json(answer: Answer) -> Said:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()[:60] or "?"
    if not answer.body.strip():
        return _said("bad", "The answer is empty.")
    if answer.body.lstrip()[:1] == b"<":
        return _said("bad", "The answer is a web page or XML (%(type)s), not JSON: often the"
                     " log-in page, or an address that is none of the service.", type=kind)  # fmt: skip
    return _said("bad", "The answer is not JSON (declared as %(type)s).", type=kind)


def _about_sample(sample: Sample) -> list[Said]:
    if sample.rows_path is None:
        return [_said("bad", "No list of records was found in the answer.")]
    findings = [_said("good", "%(count)s records at %(path)s.", count=sample.row_count,
                      path=sample.rows_path or "$")]  # fmt: skip
    if sample.total is not None:
        findings.append(_said("good", "The answer declares %(total)s records in all"
                              " (%(path)s).", total=sample.total, path=sample.total_path))  # fmt: skip
    if not any(each.is_unique for each in sample.fields):
        findings.append(_said("warn", "No field is filled and different in every record of"
                              " the sample: a key is missing."))  # fmt: skip
    findings += [said for each in sample.fields for said in _about_field(each)]
    if any(each.is_personal for each in sample.fields):
        names = ", ".join(each.path for each in sample.fields if each.is_personal)
        findings.append(_said("warn", "Personal data is in %(fields)s; it is masked here.",
                              fields=names[:200]))  # fmt: skip
    return findings


def _about_field(field: FoundField) -> Iterator[Said]:
    if field.nested:
        yield _said("warn", "%(field)s holds a list or an object: a contract cannot take it,"
                    " and a draft leaves it out.", field=field.path)  # fmt: skip
    elif not field.fits:
        yield _said("warn", "%(field)s has values of several types: a contract cannot take"
                    " it, and a draft leaves it out.", field=field.path)  # fmt: skip
    if field.long_number:
        yield _said("warn", "%(field)s is sent as a number of more than 15 digits, which many"
                    " readers round: it should be sent as text.", field=field.path)  # fmt: skip


def _about_pages(
    settings: RestJsonSettings, connector: RestJsonConnector, sample: Sample
) -> list[Said]:
    """Read the first two pages as a pull would, and say whether that works."""
    if settings.paging == "none":
        if sample.total is not None and sample.total > sample.row_count:
            return [_said("warn", "Only %(count)s of %(total)s records came: paging must be"
                          " set.", count=sample.row_count, total=sample.total)]  # fmt: skip
        return []
    counts: list[int] = []
    try:
        for page, _ in connector.pages():
            counts.append(page.row_count)
            if len(counts) == 2:
                break
    except SimpulError as error:
        return [_failed(error)]
    if len(counts) == 2:
        return [_said("good", "Paging works: the second page brought %(count)s other"
                      " records.", count=counts[1])]  # fmt: skip
    return [_said("good", "Everything came in one page.")]


# --- proposals ----------------------------------------------------------------------


def _proposal(
    settings: RestJsonSettings, sample: Sample, answer: Answer, preset: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings that fit the answer: a known profile's, or what stands in the sample."""
    keep = {name: value for name, value in preset.items() if not name.startswith("auth")}
    if keep.get("paging_in") == "path" and "{page}" not in settings.base_url:
        keep = {k: v for k, v in keep.items() if not k.startswith("pag")}
    if keep:
        query = {**settings.query, **keep.get("query", {})}
        return {**keep, "query": query} if query else keep
    if sample.rows_path is None:
        return {}
    found: dict[str, Any] = {"rows_path": sample.rows_path}
    if sample.inner_path:
        found["inner_path"] = sample.inner_path
    if sample.total_path:
        found["total_path"] = sample.total_path
    if sample.success_path and not settings.success_path:
        found |= {
            "success_path": sample.success_path,
            "success_value": sample.success_value,
        }
    if settings.paging == "none":
        found |= _paging_of(settings, sample, answer)
    return found


_OFFSETS = ("offset", "skip", "start", "_start", "from")
_LIMITS_NAMES = ("limit", "length", "_limit", "size", "take", "rows")
_PAGES = ("page", "_page", "hal", "halaman", "p", "pageNumber")
_SIZES = ("per_page", "perpage", "_per_page", "page_size", "pageSize", "limit", "_limit",
          "size", "length", "_size")  # fmt: skip


def _paging_of(
    settings: RestJsonSettings, sample: Sample, answer: Answer
) -> dict[str, Any]:
    if 'rel="next"' in answer.headers.get("link", "").replace("'", '"'):
        return {"paging": "link"}
    if sample.next_path:
        return {"paging": "next_url", "next_path": sample.next_path}
    names = [
        *settings.query,
        *(name for name, _ in parse_qsl(urlsplit(settings.base_url).query)),
    ]
    offset = next((name for name in _OFFSETS if name in names), "")
    limit = next((name for name in _LIMITS_NAMES if name in names), "")
    if offset:
        limits = {"limit_param": limit} if limit else {}
        return {"paging": "offset", "offset_param": offset, **limits}
    page = next((name for name in _PAGES if name in names), "")
    if page:
        size = next((name for name in _SIZES if name in names), "")
        return {
            "paging": "page",
            "page_param": page,
            **({"size_param": size} if size else {}),
        }
    return {}


# --- showing ------------------------------------------------------------------------


class _Veil:
    """Hides keys and tokens in all that is shown of requests and answers."""

    def __init__(self, order: LookOrder) -> None:
        self._secrets = [each for each in order.secrets.values() if each]
        self.connector: RestJsonConnector | None = None
        self._users: set[str] = set()
        self._token_urls: set[str] = set()
        self._headers = set(_CLOSED_HEADERS)

    def knows(self, settings: RestJsonSettings) -> None:
        """Learn where keys stand and which requests bring tokens."""
        for rule in settings.sign_rules():
            self._users |= {rule.user, rule.name}
            self._token_urls.add(rule.token_url)
            self._headers.add(rule.name.lower())

    def text(self, text: str) -> str:
        if self.connector is not None:
            text = self.connector.hidden(text)
        return self._pattern.sub(_HIDDEN, text)

    def value(self, value: Any, depth: int = 0) -> Any:
        """A decoded answer without keys: before it is masked, which may cut one in two."""
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(each, depth + 1) for each in value]
        if isinstance(value, dict):
            return {name: self.value(each, depth + 1) for name, each in value.items()}
        return value

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Every dress in which an answer may give a key back, the longest first."""
        forms = {"{key}"}
        for secret in self._secrets:
            quoted = {quote(secret, safe=""), quote_plus(secret)}
            pairs = [f"{user}:{secret}" for user in self._users]
            coded = {b64encode(each.encode()).decode() for each in [secret, *pairs]}
            plain = {secret, msgspec.json.encode(secret).decode()[1:-1], *quoted, *coded}
            lower = {
                _ESCAPED.sub(lambda found: found[0].lower(), form) for form in quoted
            }
            # PHP puts a backslash before each / of its JSON.
            forms |= plain | lower | {form.replace("/", "\\/") for form in plain}
        return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))

    def said(self, said: Said) -> Said:
        params = {
            name: self.text(value) if isinstance(value, str) else value
            for name, value in said.params.items()
        }
        return msgspec.structs.replace(said, params=params)

    def sample(self, sample: Sample) -> Sample:
        fields = [
            msgspec.structs.replace(
                each,
                path=self.text(each.path),
                values=[self.text(value) for value in each.values],
            )
            for each in sample.fields
        ]
        rows = [self.text(row) for row in sample.rows]
        return msgspec.structs.replace(sample, fields=fields, rows=rows)

    def header(self, name: str, value: str) -> str:
        closed = name.lower() in self._headers
        return _HIDDEN if closed else mask(name, self.text(value))[:300]

    def exchange(self, seen: Exchange) -> Shown:
        is_token = seen.url in self._token_urls
        return Shown(
            method=seen.method,
            url=self.text(seen.url),
            headers=[(name, self.header(name, value)) for name, value in seen.headers],
            body=_HIDDEN if is_token else self._body(seen.content),
            status=seen.status,
            answer_headers=[
                (name, self.header(name, value))
                for name, value in list(seen.answer_headers.items())[:30]
            ],
            answer=_HIDDEN
            if is_token and seen.status == 200
            else self._body(seen.sample),
        )

    def _body(self, body: bytes) -> str:
        """A body as a page may show it: masked JSON, or the beginning of a text.

        It is cut last: half a key is a key to guess.
        """
        if not body:
            return ""
        try:
            decoded = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text = body[:_READ_BYTES].decode("utf-8", "replace").replace("\0", "�")
            return mask("", self.text(text))[:1_500]
        return self.text(masked_json(self.value(decoded)))[:_SHOWN_CHARS]


def main() -> None:
    """Be the process that looks: an order in, a look out."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=LookOrder)
    try:
        found = look(order)
    except MemoryError:
        error = errors.response_too_large("?", _LIMITS["page_bytes"])  # type: ignore[arg-type]
        found = Look([_failed(error)])
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
