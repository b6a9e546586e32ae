"""Mails as files, for machines without a mail server: whoever may read the folder reads them."""

import asyncio
import os
from pathlib import Path

from media_gateway.auth.mail.port import Mail
from media_gateway.core.errors import UnavailableError


class FolderMail:
    """`MailServer` that writes a file a mail, named by its time and id, readable by its owner only."""

    def __init__(self, folder: Path | str, *, sender: str) -> None:
        self._folder = Path(folder).expanduser()
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Write the file; it is there as a whole or not at all, and once however often it is sent."""
        body = mail.message(self._sender).as_bytes()
        name = f"{mail.created_at:%Y%m%dT%H%M%S}-{mail.mail_id}.eml"
        try:
            await asyncio.to_thread(self._write, name, body)
        except OSError as error:
            raise UnavailableError(f"the folder of mails can't be written: {error.strerror}") from error

    def _write(self, name: str, body: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._folder / f".{name}.{os.getpid()}"
        unfinished.unlink(missing_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._folder / name)
