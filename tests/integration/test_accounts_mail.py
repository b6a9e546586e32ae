"""Mails: none is lost, none is sent for ever, and nothing gets into a header."""

import asyncio
import stat
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from pydantic import SecretStr, ValidationError

from media_gateway.auth.mail import Mail, MailRefusedError
from media_gateway.auth.mail.folder import FolderMail
from media_gateway.auth.mail.smtp import SmtpMail
from media_gateway.auth.services.mail_sender import MAX_ATTEMPTS, MailSender, SendingRules
from media_gateway.auth.services.retention import AccountRetention
from media_gateway.auth.settings import Settings
from media_gateway.auth.store.mails import MailKind, add_mail
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import UnavailableError
from tests.support.account_world import ANN
from tests.support.smtp_sink import smtp_sink

SENDER = "Media Gateway <no-reply@media.example>"
RULES = SendingRules(
    public_url="https://media.example", verify_life_s=60, reset_life_s=60, first_pause_s=0.001, poll_s=0.01
)


def mail(**changes: Any) -> Mail:
    values: dict[str, Any] = {"recipient": ANN, "subject": "Héllo", "text": "Text\n", **changes}
    return Mail(mail_id=uuid4(), created_at=datetime.now(UTC), **values)


async def count(database: Database, table: str) -> Any:
    async with database.transaction() as connection:
        return (await connection.execute(sa.text(f"SELECT count(*) FROM {table}"))).scalar()


async def add(database: Database, kind: MailKind = MailKind.PASSWORD_CHANGED, life_s: float = 60.0) -> None:
    async with database.transaction() as connection:
        await add_mail(connection, kind, ANN, life_s=life_s)


async def send_all(sender: MailSender) -> None:
    while await sender.send_next():
        pass


async def test_a_mail_reaches_a_real_server():
    async with smtp_sink() as sink:
        await SmtpMail(f"smtp://127.0.0.1:{sink.port}", sender=SENDER).send(mail())
    [(recipients, body)] = sink.taken
    assert recipients == [f"RCPT TO:<{ANN}>"]
    assert b"Auto-Submitted: auto-generated" in body


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("RCPT", "550 no such person", MailRefusedError),
        ("RCPT", "450 later", UnavailableError),
        ("BODY", "554 no", MailRefusedError),
        ("MAIL", "530 who are you", UnavailableError),
    ],
)
async def test_only_what_is_refused_for_good_is_given_up(command, answer, error):
    async with smtp_sink() as sink:
        sink.answers[command] = answer
        with pytest.raises(error) as raised:
            await SmtpMail(f"smtp://127.0.0.1:{sink.port}", sender=SENDER).send(mail())
    assert ANN not in raised.value.message


async def test_a_server_elsewhere_must_speak_tls():
    async with smtp_sink() as sink:
        server = SmtpMail(f"smtp://user:pass@127.0.0.1:{sink.port}", sender=SENDER)
        server._starttls = True  # as for every host that is not this machine
        with pytest.raises(UnavailableError):
            await server.send(mail())
    assert not sink.taken
    assert not [line for line in sink.commands if line.startswith("AUTH")]


@pytest.mark.parametrize("bad", [f"{ANN}\r\nBcc: x@tv.example", "x@tv.example, y@tv.example", "", "@"])
async def test_nothing_but_an_address_gets_into_a_header(tmp_path, bad):
    with pytest.raises(MailRefusedError):
        await FolderMail(tmp_path, sender=SENDER).send(mail(recipient=bad))
    assert not list(tmp_path.iterdir())


async def test_a_mail_is_one_private_file_however_often_it_is_sent(tmp_path):
    one, folder = mail(), FolderMail(tmp_path / "mails", sender=SENDER)
    await folder.send(one)
    await folder.send(one)
    [path] = (tmp_path / "mails").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_mail_waits_for_a_server_that_is_away(database):
    await add(database)
    async with smtp_sink() as sink:
        sink.answers["MAIL"] = "421 not now"
        sender = MailSender(database, SmtpMail(f"smtp://127.0.0.1:{sink.port}", sender=SENDER), RULES)
        assert await sender.send_next()
        assert await count(database, "mails") == 1
        sink.answers.clear()
        while await count(database, "mails"):
            await sender.send_next()
    assert len(sink.taken) == 1


@pytest.mark.parametrize(("answer", "attempts"), [("550 never", 1), ("450 later", MAX_ATTEMPTS)])
async def test_a_mail_that_can_not_be_sent_is_given_up_and_written_down(database, answer, attempts):
    await add(database)
    async with smtp_sink() as sink:
        sink.answers["RCPT"] = answer
        sender = MailSender(database, SmtpMail(f"smtp://127.0.0.1:{sink.port}", sender=SENDER), RULES)
        while await count(database, "mails"):
            await sender.send_next()
    async with database.transaction() as connection:
        [entry] = await connection.execute(sa.text("SELECT action, details FROM audit_logs"))
    assert (entry.action, entry.details["attempts"]) == ("mail.given_up", attempts)
    assert ANN not in str(entry)


async def test_senders_side_by_side_send_every_mail_once(database):
    for _ in range(20):
        await add(database)
    async with smtp_sink() as sink:
        server = SmtpMail(f"smtp://127.0.0.1:{sink.port}", sender=SENDER)
        await asyncio.gather(*(send_all(MailSender(database, server, RULES)) for _ in range(4)))
    assert len(sink.taken) == 20
    assert not await count(database, "mails")


@pytest.mark.parametrize(
    ("kind", "life_s", "entries"),
    [(MailKind.RESET_PASSWORD, 60.0, 0), (MailKind.PASSWORD_CHANGED, -1.0, 1)],
)
async def test_nobody_gets_a_mail_without_an_account_or_too_late(database, tmp_path, kind, life_s, entries):
    await add(database, kind, life_s)
    await send_all(MailSender(database, FolderMail(tmp_path, sender=SENDER), RULES))
    assert not list(tmp_path.iterdir())
    assert await count(database, "audit_logs") == entries


async def test_old_entries_and_expired_codes_go(database):
    async with database.transaction() as connection:
        for statement in (
            "INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'ann@tv.example')",
            "INSERT INTO mailed_codes SELECT '\\x00', id, 'verify_email', NULL, now() - interval '1 s' FROM users",
            "INSERT INTO mailed_codes SELECT '\\x01', id, 'verify_email', NULL, now() + interval '1 h' FROM users",
            "INSERT INTO audit_logs SELECT gen_random_uuid(), now() - d, NULL, 'x', 'y' FROM unnest('{1 d,91 d}'::interval[]) d",
        ):
            await connection.execute(sa.text(statement))
    await AccountRetention(database, audit_kept_s=90 * 86_400).prune()
    assert (await count(database, "mailed_codes"), await count(database, "audit_logs")) == (1, 1)


@pytest.mark.parametrize(
    "url", ["", "mail.example", "http://mail.example", "smtp:", "smtp://h:x", "smtp://h?tls=maybe"]
)
def test_a_wrong_address_of_a_mail_server_is_refused_without_repeating_it(url):
    with pytest.raises(ValidationError, match="not an address with a known scheme"):
        Settings(mail_url=SecretStr(url))


@pytest.mark.parametrize("sender", ["", "nobody", "A\r\nBcc: x@tv.example <a@tv.example>", "a@tv.example\n"])
def test_a_wrong_sender_is_refused(sender):
    with pytest.raises(ValidationError, match="not a sender"):
        Settings(mail_from=sender)
