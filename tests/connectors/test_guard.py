"""Where requests may go: spellings of addresses, answers of the name service, certificates."""

import errno
import ipaddress
import socket
import threading
import time

import httpcore
import pytest

from app.connectors import errors
from app.connectors.addresses import (
    ApprovedHosts,
    forbidden_because,
    parse_url,
    pinned,
)
from app.connectors.guard import Budgets, GuardedClient
from app.connectors.transport import Flight, PinnedBackend

from .conftest import Names, client_on, reply

APPROVED = ApprovedHosts(
    ["api.opd.example:443", "api.opd.example:80", "10.1.2.3:8080", "127.0.0.1:8081",
     "dinas.riau.example:8443", "[fd12::5]:8443", "xn--bcher-kva.example:443"]
)  # fmt: skip

FORBIDDEN_URLS = [
    # this machine, in every spelling
    "http://127.0.0.1/", "http://127.0.0.1:6379/", "http://127.0.0.1:8082/", "http://localhost/",
    "http://localhost:8081/", "http://LOCALHOST.:8081/", "http://127.1:8081/", "http://0:8081/",
    "http://2130706433:8081/", "http://0x7f000001:8081/", "http://0x7f.0.0.1:8081/",
    "http://0177.0.0.1:8081/", "http://017700000001:8081/", "http://127.0.1:8081/",
    "http://127.000.000.001:8081/", "http://[::1]:8081/", "http://[::]:8081/",
    "http://[0:0:0:0:0:0:0:1]:8081/", "http://[::ffff:127.0.0.1]:8081/",
    "http://[::ffff:7f00:1]:8081/", "http://[::127.0.0.1]:8081/", "http://0.0.0.0:8081/",
    "http://[64:ff9b::7f00:1]:8081/", "http://[2002:7f00:1::]:8081/", "http://127.0.0.2:8081/",
    "http://１２７.0.0.1:8081/", "http://①②⑦.⓪.⓪.①:8081/", "http://127。0。0。1:8081/",
    "http://127.0.0.1%2e:8081/", "http://[::1%25lo]:8081/", "http://[fe80::1%25eth0]/",
    # link-local, metadata, nowhere
    "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://[fd00:ec2::254]/",
    "http://100.100.100.200/", "http://2852039166/", "http://metadata.google.internal/",
    "http://224.0.0.1/", "http://255.255.255.255/", "http://[ff02::1]/",
    # another host or port than approved
    "http://10.1.2.3/", "http://10.1.2.3:8081/", "http://10.1.2.4:8080/", "https://evil.example/",
    "https://api.opd.example:8443/", "https://api.opd.example.evil.example/",
    "https://evil-api.opd.example/", "https://opd.example/", "https://apixopd.example/",
    # users, fragments, tricks of parsers
    "https://api.opd.example@evil.example/", "https://api.opd.example:443@evil.example/",
    "https://user:pass@api.opd.example/", "https://evil.example#@api.opd.example/",
    "https://api.opd.example#x", "https://evil.example\\@api.opd.example/",
    "https://api.opd.example\\.evil.example/", "https:api.opd.example/", "https:///api.opd.example",
    "//api.opd.example/", "https://api.opd.example:/@evil.example:443/../",
    "https://api.opd.example\t/", "https://api.opd.example\r\nHost: x/", "https://api\n.opd.example/",
    " https://api.opd.example/", "https://api.opd.example /", "https://api.opd.example:443:80/",
    "https://api.opd.example:0/", "https://api.opd.example:65536/", "https://api.opd.example:-1/",
    "https://api.opd.example:４４３/", "https://[api.opd.example]/", "https://[::1/", "https://",
    "https://.api.opd.example/", "https://api..opd.example/", "https://api.opd.example../",
    "https://-api.opd.example/", "https://\u200d.example/", "https://api.opd.example/\ud800", "https://[1::2::3]/", "https://ap%69.opd.example/", "https://аpi.opd.example/",
    # schemes
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL", "ftp://api.opd.example/",
    "dict://127.0.0.1:11211/", "ws://api.opd.example/", "jar:http://api.opd.example!/", "", "x",
    "javascript:alert(1)", "https+unix://%2Fvar%2Frun/", "http:", "https://api.opd.example/" * 900,
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN_URLS, ids=lambda url: ascii(url)[:60])
def test_a_url_that_leads_elsewhere_is_refused(url):
    with pytest.raises(errors.SourceRefusedError) as caught:
        APPROVED.target(url)

    assert caught.value.code == "not_approved"


@pytest.mark.parametrize(
    ("url", "pair", "path"),
    [
        ("https://api.opd.example", ("api.opd.example", 443), "/"),
        ("HTTPS://API.OPD.Example:443/A?b=c d".replace(" ", "%20"), ("api.opd.example", 443), "/A?b=c%20d"),
        ("https://api.opd.example./x", ("api.opd.example", 443), "/x"),
        ("http://api.opd.example/é?ü=1", ("api.opd.example", 80), "/%C3%A9?%C3%BC=1"),
        ("http://10.1.2.3:8080/a/../b", ("10.1.2.3", 8080), "/a/../b"),
        ("https://bücher.example/", ("xn--bcher-kva.example", 443), "/"),
        ("https://[FD12:0::5]:8443/", ("fd12::5", 8443), "/"),
        ("http://127.0.0.1:8081/?q=@x", ("127.0.0.1", 8081), "/?q=@x"),
    ],
)  # fmt: skip
def test_approved_urls_have_one_canonical_target(url, pair, path):
    target = APPROVED.target(url)

    assert (target.pair, target.path) == (pair, path)


def test_the_host_header_names_the_port_only_when_it_is_not_the_usual_one():
    assert parse_url("https://a.example:443/").host_header == "a.example"
    assert parse_url("http://a.example:443/").host_header == "a.example:443"
    assert parse_url("http://[fd12::2]:81/").host_header == "[fd12::2]:81"


@pytest.mark.parametrize(
    "pair",
    [
        "169.254.169.254:80", "0.0.0.0:80", "224.0.0.1:80", "[fe80::1]:80", "[::]:80",
        "255.255.255.255:80", "[::ffff:127.0.0.1]:80", "[1::2::3]:80", "[::ffff:10.1.2.3]:80", "api.opd.example", "a.example:0",
        "a.example:70000", "a..example:80", "2130706433:80", "http://a.example:80", "", ":80",
    ],
)  # fmt: skip
def test_some_pairs_cannot_be_approved(pair):
    with pytest.raises(errors.SourceSettingsError):
        ApprovedHosts([pair])


# --- the name service -----------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1%eth0",
        "fe80::1", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255",
        "240.0.0.1", "100.100.100.200", "fd00:ec2::254", "64:ff9b::7f00:1", "2002:7f00:1::",
        "64:ff9b::a9fe:a9fe", "::127.0.0.1", "::ffff:169.254.169.254", "2001::1", "168.63.129.16",
    ],
)  # fmt: skip
def test_a_name_that_leads_to_a_forbidden_address_is_refused(upstream, answer):
    for answers in ([answer], ["93.184.216.34", answer]):
        with client_on(upstream, Names(answers)) as client:
            with pytest.raises(errors.SourceRefusedError) as caught:
                client.send("GET", "http://api.opd.example/")
            assert caught.value.code == "not_approved"
            assert client._backend._inner.asked == []


@pytest.mark.parametrize(
    "answer", ["10.1.2.3", "172.16.0.9", "192.168.1.1", "fd12::5", "8.8.8.8"]
)
def test_an_approved_name_may_lead_into_the_intranet(upstream, answer):
    upstream.script = reply(b"[1]")
    with client_on(upstream, Names([answer])) as client:
        assert client.send("GET", "http://api.opd.example/").body == b"[1]"
        assert client._backend._inner.asked == [(answer, 80)]

    assert upstream.requests[0].headers["host"] == "api.opd.example"


def test_rebinding_between_question_and_connection_is_impossible(upstream):
    upstream.script = reply(b"[1]", Connection="close")
    names = Names(["10.1.2.3"], ["127.0.0.1"])
    with client_on(upstream, names) as client:
        client.send("GET", "http://api.opd.example/")
        assert names.asked == 1
        assert client._backend._inner.asked == [("10.1.2.3", 80)]

        upstream.stop()
        with pytest.raises(errors.SourceRefusedError):
            client.send("GET", "http://api.opd.example/")

        assert client._backend._inner.asked == [("10.1.2.3", 80)]


def test_a_kept_connection_asks_the_name_service_once(upstream):
    upstream.script = reply(b"[1]")
    names = Names(["10.1.2.3"])
    with client_on(upstream, names) as client:
        for _ in range(5):
            client.send("GET", "http://api.opd.example/")

    assert (names.asked, upstream.connections) == (1, 1)


def test_the_second_address_is_tried_when_the_first_is_down(upstream):
    upstream.script = reply(b"[1]")
    with client_on(upstream, Names(["10.0.0.66", "10.0.0.67"])) as client:
        client.send("GET", "http://api.opd.example/")

        assert client._backend._inner.asked == [("10.0.0.66", 80), ("10.0.0.67", 80)]


@pytest.mark.parametrize(
    ("answer", "code", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "name_not_found", errors.SourceRefusedError),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "name_service_failed", errors.SourceUnavailableError),
        (OSError("x"), "name_service_failed", errors.SourceUnavailableError),
        ([], "name_not_found", errors.SourceRefusedError),
    ],
)  # fmt: skip
def test_failures_of_the_name_service_are_told_apart(upstream, answer, code, kind):
    with client_on(upstream, Names(answer)) as client, pytest.raises(kind) as caught:
        client.send("GET", "http://api.opd.example/")

    assert caught.value.code == code


def test_a_name_service_that_hangs_is_left_waiting(upstream):
    released = threading.Event()

    def hang(host, port):
        released.wait(10)
        return ["10.1.2.3"]

    began = time.monotonic()
    with client_on(upstream, hang, budgets=Budgets(connect_seconds=0.2)) as client:
        with pytest.raises(errors.SourceUnavailableError) as caught:
            client.send("GET", "http://api.opd.example/")
        released.set()

    assert caught.value.code == "name_service_failed"
    assert time.monotonic() - began < 2


def test_the_systems_own_name_service_is_asked_and_its_loopback_answer_refused():
    with (
        GuardedClient(ApprovedHosts(["localhost:8081"])) as client,
        pytest.raises(errors.SourceRefusedError) as caught,
    ):
        client.send("GET", "http://localhost:8081/")

    assert caught.value.code == "not_approved"


def test_the_backend_asks_the_list_again():
    backend = PinnedBackend(
        ApprovedHosts(["a.example:80"]), Names(["10.1.2.3"]), Flight()
    )

    with pytest.raises(errors.SourceRefusedError):
        backend.connect_tcp("b.example", 80, timeout=1.0)


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EHOSTUNREACH, "unreachable"), (errno.ECONNREFUSED, "refused"),
     (errno.ECONNRESET, "connection_lost")],
)  # fmt: skip
def test_failures_to_connect_are_told_apart(upstream, number, code):
    with client_on(upstream, Names(["10.1.2.3"])) as client:

        def fail(*args, **more):
            try:
                raise OSError(number, "x")  # noqa: TRY301 (as httpcore's own backend does)
            except OSError as error:
                raise httpcore.ConnectError from error

        client._backend._inner.connect_tcp = fail
        with pytest.raises(errors.SourceUnavailableError) as caught:
            client.send("GET", "http://api.opd.example/")

    assert caught.value.code == code


def test_a_connection_that_hangs_is_given_up(upstream):
    with client_on(upstream, Names(["10.1.2.3"])) as client:

        def hang(*args, **more):
            raise httpcore.ConnectTimeout

        client._backend._inner.connect_tcp = hang
        with pytest.raises(errors.SourceUnavailableError) as caught:
            client.send("GET", "http://api.opd.example/")

    assert (caught.value.code, caught.value.params["seconds"]) == ("timeout", "5")


@pytest.mark.parametrize(
    "part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,"]
)
def test_silence_ends_with_the_page_when_that_is_earlier(upstream, part):
    def script(connection, request):
        connection.sendall(part)
        time.sleep(5)

    upstream.script = script
    began = time.monotonic()
    budgets = Budgets(5, 5, 0.4)
    with (
        client_on(upstream, Names(["10.1.2.3"]), budgets=budgets) as client,
        pytest.raises(errors.SourceUnavailableError) as caught,
    ):
        client.send("GET", "http://api.opd.example/")

    assert caught.value.code == "too_slow"
    assert time.monotonic() - began < 2


def test_every_address_is_judged_without_an_error():
    for number in (0, 1, 2**31, 2**32 - 1):
        forbidden_because(ipaddress.IPv4Address(number))
    for number in (0, 1, 2, 2**127, 2**128 - 1):
        forbidden_because(ipaddress.IPv6Address(number))


@pytest.mark.parametrize(
    ("answers", "refused"),
    [(["10.1.2.3"], False), (["100.64.1.1"], False), (["fd00::5"], False), (["103.10.1.1"], True),
     (["10.1.2.3", "103.10.1.1"], True), (["2404:c0::1"], True)],
)  # fmt: skip
def test_a_pair_of_the_intranet_has_no_public_address(answers, refused):
    approved = ApprovedHosts(["a.example:80", "b.example:80"], ["a.example:80"])

    assert pinned("b.example", 80, answers, approved) == answers
    if not refused:
        assert pinned("a.example", 80, answers, approved) == answers
        return
    with pytest.raises(errors.SourceRefusedError) as caught:
        pinned("a.example", 80, answers, approved)
    assert caught.value.code == "not_approved"


def test_a_literal_address_of_the_intranet_is_judged_too():
    approved = ApprovedHosts(["103.10.1.1:80"], ["103.10.1.1:80"])

    with pytest.raises(errors.SourceRefusedError):
        pinned("103.10.1.1", 80, [], approved)
