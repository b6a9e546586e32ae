"""One-time codes of authenticator apps (TOTP, RFC 6238): SHA-1, six digits, steps of 30 s."""

import hmac
from hashlib import sha1

STEP_S = 30
DIGITS = 6
TOLERATED_STEPS = 1
"""How far the app's clock may be off, either way (RFC 6238, 5.2 allows one step for the way of the code)."""


def code_at(secret: bytes, step: int) -> str:
    """The code of one step (RFC 4226, 5.3).

    Parameters
    ----------
    step
        Unix time in seconds, divided by `STEP_S`, rounded down.
    """
    # Authenticator apps know SHA-1 only; HMAC does not rest on collision resistance.
    digest = hmac.new(secret, step.to_bytes(8, "big"), sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: bytes, code: str, *, now: float, last_step: int) -> int | None:
    """The step that a code belongs to; None when it is wrong, too old, or was used.

    Parameters
    ----------
    now
        Unix time in seconds.
    last_step
        Step of the last accepted code: it and those before it are not accepted again.
    """
    current = int(now // STEP_S)
    found = None
    # All are compared, so that the time taken does not tell which one fits.
    for step in range(current - TOLERATED_STEPS, current + TOLERATED_STEPS + 1):
        fits = hmac.compare_digest(code_at(secret, step).encode(), code.encode(errors="replace"))
        if fits and step > last_step:
            found = step
    return found
