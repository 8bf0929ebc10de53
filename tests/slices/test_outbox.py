"""The outbox: not lost, not sent twice, tried again, and over checked lines alone."""

import email
import re
import signal
import socketserver
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email import policy

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.core.policy import DISPATCHER
from app.notifications import outbox
from app.notifications.delivery import deliver
from app.notifications.letters import Letter
from app.notifications.models import Mail
from app.notifications.smtp import Server
from app.notifications.states import MailState
from app.runs.states import RunStatus
from jobs import mails as job
from tests import fakes, make


class _Talk(socketserver.StreamRequestHandler):
    """Just enough SMTP for smtplib."""

    def handle(self):
        self._say("220 uji")
        while line := self.rfile.readline():
            word = line.split(b" ")[0].strip().upper()
            if word in {b"EHLO", b"HELO"}:
                self._say("250-uji\r\n250 STARTTLS" if self.server.context else "250 uji")
            elif word == b"STARTTLS":
                self._say("220 go")
                if not self._encrypt():
                    return
            elif word == b"RCPT":
                address = re.search(rb"<(.+)>", line)[1].decode()
                self._say(self.server.answers.get(address, "250 ok"))
            elif word == b"DATA":
                self._take()
            elif word == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _encrypt(self):
        try:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        except (ssl.SSLError, ConnectionError):
            return False
        self.rfile = self.request.makefile("rb")
        self.wfile = self.request.makefile("wb", 0)
        return True

    def finish(self):
        super().finish()
        self.request.close()

    def _take(self):
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        self.server.taken.append(
            email.message_from_bytes(b"".join(lines), policy=policy.default)
        )
        self._say("250 taken")

    def _say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Post(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it takes; ``answers`` to recipients may be refusals."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), _Talk)
        self.taken, self.answers, self.context = [], {}, context
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def got(self, recipient):
        return [each for each in self.taken if each["To"] == recipient]


@pytest.fixture
def post():
    server = Post()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def empty_outbox(bound):
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.execute(sa.delete(Mail))


@pytest.fixture
def somebody(bound):
    return make.make_user("AUDITOR")


def _server(post, scheme="smtp+plain", ca_file=""):
    return Server.of(
        f"{scheme}://localhost:{post.port}", "Simpul <simpul@riau.test>", ca_file
    )


def _put(somebody, subject="Perihal", **more):
    with make.session() as s:
        return outbox.put(
            s,
            Letter(
                subject,
                ("Yth. Ibu,", "isi <b>&"),
                "Kantor",
                action=("Buka", "http://x/y"),
            ),
            recipient=somebody.email,
            user_id=somebody.id,
            **more,
        )


def _mail(mail_id):
    with make.session() as s:
        return s.get_one(Mail, mail_id)


def _deliver(server):
    with make.acting_as(make.WORKER_PRINCIPAL):
        return deliver(server, lambda _session: None)


def _make_due(mail_id):
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.get_one(Mail, mail_id).not_before = datetime.now(tz=UTC) - timedelta(seconds=1)


def test_a_mail_goes_out_once_as_text_and_as_page(post, somebody):
    mail_id = _put(somebody, "Perihal\nBcc: semua@x.test")

    assert _deliver(_server(post)).sent == 1
    assert _deliver(_server(post)).sent == 0

    [got] = post.got(somebody.email)
    assert got["Subject"] == "Perihal Bcc: semua@x.test"
    assert got["Bcc"] is None
    assert str(mail_id) in got["Message-ID"]
    text, page = (part.get_content() for part in got.iter_parts())
    assert "Buka:\nhttp://x/y" in text.replace("\r\n", "\n")
    assert "isi &lt;b&gt;&amp;" in page
    assert "src=" not in page
    assert _mail(mail_id).state is MailState.SENT


def test_a_mail_of_a_change_that_was_taken_back_is_none(post, somebody):
    letter = Letter("x", ("x",), "x")
    with make.session() as s:
        outbox.put(s, letter, recipient=somebody.email, user_id=somebody.id)
        s.rollback()

    assert _deliver(_server(post)).sent == 0


def test_a_recipient_that_is_refused_for_good_holds_up_nobody(post, somebody):
    other = make.make_user("AUDITOR")
    post.answers[somebody.email] = "550 no such mailbox"
    bad, good = _put(somebody), _put(other)

    result = _deliver(_server(post))

    assert (result.sent, result.failed) == (1, 1)
    assert _mail(bad).state is MailState.FAILED
    assert _mail(bad).last_error == "550 no such mailbox"
    assert _mail(good).state is MailState.SENT
    with make.session() as s:
        outbox.send_again(s.get_one(Mail, bad))
    post.answers.clear()
    assert _deliver(_server(post)).sent == 1


def test_a_mail_that_is_put_off_waits_longer_each_time(post, somebody):
    post.answers[somebody.email] = "451 later"
    mail_id = _put(somebody)
    waits = []
    for _ in range(3):
        _deliver(_server(post))
        mail = _mail(mail_id)
        waits.append(round((mail.not_before - datetime.now(tz=UTC)).total_seconds() / 60))
        assert mail.state is MailState.WAITING
        assert _deliver(_server(post)).sent == 0
        _make_due(mail_id)

    assert waits == [1, 5, 15]
    post.answers.clear()
    assert _deliver(_server(post)).sent == 1


def test_without_a_mail_server_all_wait_and_in_the_end_are_told_undeliverable(
    bound, somebody
):
    closed = Server.of("smtp+plain://127.0.0.1:9", "a@b.test")
    mail_id = _put(somebody)

    result = _deliver(closed)

    assert "refused" in result.error
    assert _mail(mail_id).state is MailState.WAITING
    for _ in outbox.WAITS:
        _make_due(mail_id)
        _deliver(closed)
    assert _mail(mail_id).state is MailState.FAILED


def test_the_words_of_a_mail_that_opens_something_go_when_it_is_sent(post, somebody):
    mail_id = _put(somebody, confidential=True)
    with make.session() as s:
        stored = s.execute(
            sa.text("SELECT text || html FROM mail WHERE id = :id"), {"id": mail_id}
        ).scalar_one()
    assert "http://x/y" not in stored

    _deliver(_server(post))

    assert "http://x/y" in post.got(somebody.email)[0].as_string()
    assert (_mail(mail_id).text, _mail(mail_id).html) == ("", "")


@pytest.mark.parametrize("point", ["mail_taken", ""])
def test_a_killed_process_loses_no_mail(bound, post, somebody, point):
    """Killed after the yes, before it was noted: it goes out again as the same message."""
    mail_id = _put(somebody)
    with make.session(DISPATCHER) as s:
        job.request_sending(s)
    with make.session() as s:
        run_id = s.scalar(
            sa.text("SELECT id FROM job_run WHERE kind = 'mail' AND status = 'queued'")
        )
    env = {
        "SMTP_URL": f"smtp+plain://localhost:{post.port}",
        "MAIL_FROM": "simpul@riau.test",
        "PUBLIC_URL": "http://localhost",
    }
    with fakes.Yard(bound, **env) as yard:
        if point:
            pid = yard.start(run_id, point)
            assert yard.wait(pid) == -signal.SIGKILL
            assert _mail(mail_id).state is MailState.SENDING
            make.expire_lease(run_id)
            from app.runs import sweeps

            with make.session(DISPATCHER) as s:
                sweeps.reconcile(s)
            make.make_due(run_id)
        assert yard.run(run_id) == 0

    assert make.run_of(run_id).status is RunStatus.SUCCEEDED, point
    assert _mail(mail_id).state is MailState.SENT
    copies = post.got(somebody.email)
    assert len(copies) == (2 if point else 1)
    assert len({each["Message-ID"] for each in copies}) == 1


def test_one_run_sends_at_a_time(bound, somebody):
    _put(somebody)
    for _ in range(2):
        with make.session(DISPATCHER) as s:
            job.request_sending(s)
    with make.session(make.WORKER_PRINCIPAL) as s:
        waiting = s.scalar(
            sa.text(
                "SELECT count(*) FROM job_run WHERE kind = 'mail' AND status = 'queued'"
            )
        )
        assert waiting == 1
        s.execute(
            sa.text(
                "UPDATE job_run SET status = 'cancelled', finished_at = now() WHERE kind = 'mail' AND status = 'queued'"
            )
        )


# Encryption -----------------------------------------------------------------------------


def _certificate(folder, name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(
    ("name", "trusted", "sent"),
    [("localhost", True, 1), ("localhost", False, 0), ("lain.test", True, 0)],
)
def test_a_certificate_that_does_not_hold_gets_no_mail(
    tmp_path, somebody, name, trusted, sent
):
    path = _certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    post = Post(context)
    mail_id = _put(somebody)
    try:
        result = _deliver(_server(post, "smtp", str(path) if trusted else ""))
    finally:
        post.shutdown()
        post.server_close()

    assert result.sent == sent == len(post.taken)
    assert ("CERTIFICATE" in result.error.upper()) == (not sent)
    assert (_mail(mail_id).state is MailState.SENT) == bool(sent)


def test_a_server_without_encryption_gets_no_mail_unless_plain_was_asked_for(
    post, somebody
):
    _put(somebody)

    assert _deliver(_server(post, "smtp")).sent == 0
    assert post.taken == []


def test_an_agency_writes_to_its_own_people_alone(bound):
    agency, own = make.make_agency(), None
    own = make.make_user("OPD_OPERATOR", agency=agency)
    stranger = make.make_user("AUDITOR")
    principal = make.agency_principal(agency.id)
    letter = Letter("x", ("x",), "x")
    with make.session(principal) as s:
        outbox.put(s, letter, recipient=own.email, user_id=own.id)
    for user, recipient in ((stranger, stranger.email), (own, "luar@x.test")):
        with pytest.raises(sa.exc.ProgrammingError), make.session(principal) as s:
            outbox.put(s, letter, recipient=recipient, user_id=user.id)
