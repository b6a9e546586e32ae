"""Passwords: which are accepted, and how they are kept (argon2id, RFC 9106)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_CHARS = 8
MAX_CHARS = 128
"""Longer ones are refused: hashing must not become a way to keep the server busy."""

MEMORY_KIB = 19_456
PASSES = 2
LANES = 1


def faults_of(password: str, *, email: str) -> list[str]:
    """What is wrong with a new password, in words for the person who chose it; empty when nothing is."""
    rules = (
        (len(password) >= MIN_CHARS, f"must have at least {MIN_CHARS} characters"),
        (len(password) <= MAX_CHARS, f"must have at most {MAX_CHARS} characters"),
        (any(char.isupper() for char in password), "must hold an upper-case letter"),
        (any(char.islower() for char in password), "must hold a lower-case letter"),
        (any(char.isdigit() for char in password), "must hold a digit"),
        (password.casefold() != email.casefold(), "must not be the e-mail address"),
        (_encodable(password), "must be valid Unicode"),
    )
    return [fault for holds, fault in rules if not holds]


class Passwords:
    """Makes and checks hashes of passwords, off the event loop.

    Parameters
    ----------
    threads
        How many are hashed at once; each takes `MEMORY_KIB` of memory meanwhile.
    """

    def __init__(self, *, threads: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._nobody = self._hasher.hash("nobody")

    async def hashed(self, password: str) -> str:
        """Hash of a password with a salt of its own, in PHC form."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, password: str, kept: str | None) -> bool:
        """Whether a password is the one that was kept. Without one kept, the same work is done for a False."""
        if len(password) > MAX_CHARS or not _encodable(password):
            password, kept = "", None
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, password, kept)

    def is_outdated(self, kept: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """Let the threads go; hashes that wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, password: str, kept: str | None) -> bool:
        try:
            self._hasher.verify(kept or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
