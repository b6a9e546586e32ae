"""What is limited: a rule with its figures, what a request is charged to, and what was decided.

Compiled from a document by `compiling`, judged by `store` (Redis) or `local` (this process). Times are microseconds, as
Redis's TIME gives them, so that no two clocks or roundings meet. What is made for each request is a tuple, which costs a
third of a frozen dataclass.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

LOG_UP_TO = 100
"""Largest limit for which every request of the window is remembered; above, a sliding window is two counters. A log of 100
entries is 800 bytes; an estimate from two counters is too rough for small limits."""


class Kind(IntEnum):
    """How a rule counts. The numbers are those of the script."""

    LOG = 1
    """The moment of every request of the window: exact."""
    COUNTER = 2
    """This window's count and the last one's, weighted by how much of it the sliding window still covers."""
    FIXED = 3
    """One count a window of the clock."""
    GCRA = 4
    """The generic cell rate algorithm (ITU-T I.371): an even rate with a burst, one number a key."""
    CONCURRENCY = 5
    """Requests in progress, each with a lease."""


class FailureMode(StrEnum):
    """What a rule says while the counters in Redis can't be asked."""

    LOCAL = "Local"
    """This process counts for itself."""
    OPEN = "Open"
    """Everything passes."""
    CLOSED = "Closed"
    """Nothing passes."""


class Headers(StrEnum):
    """Which headers tell a caller about a rule."""

    DRAFT = "Draft"
    LEGACY = "Legacy"
    NONE = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One limit.

    Attributes
    ----------
    name : str
        In headers, metrics and logs; unique in a document.
    limit : int
        Units in a window, or requests in progress.
    window_us : int
        Length of the window, in microseconds; of a concurrency rule 0.
    burst : int
        Units that may come at once (GCRA); otherwise the limit.
    cost : int
        Units of a request.
    enforced : bool
        False for a dry run: what it would refuse is counted, logged and let through.
    failure : FailureMode
        While Redis is away.
    in_memory : bool
        Counted by this process alone, never in Redis.
    replicas : int
        Processes that share the limit; each takes its part while it counts alone.
    max_keys : int
        Subjects that a process remembers while it counts alone.
    status : int
        Of the refusal: 429 or 503.
    """

    name: str
    kind: Kind
    limit: int
    window_us: int
    burst: int
    cost: int = 1
    enforced: bool = True
    failure: FailureMode = FailureMode.LOCAL
    in_memory: bool = False
    replicas: int = 1
    max_keys: int = 100_000
    status: int = 429
    headers: Headers = Headers.DRAFT
    message: str | None = None
    packed: bytes = field(init=False, repr=False, compare=False)
    seed: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every call needs."""
        figures = (self.kind, self.limit, self.window_us, self.burst, self.cost, self.enforced)
        object.__setattr__(self, "packed", struct.pack("<6d", *figures))
        # What is stored means something else under another way of counting, so that begins anew.
        seed = f"{self.name}\0{self.kind:d}\0{self.window_us}\0"
        object.__setattr__(self, "seed", seed.encode(errors="replace"))

    @property
    def capacity(self) -> int:
        """Most units that can be free."""
        return self.burst if self.kind is Kind.GCRA else self.limit

    def share(self) -> tuple[int, int]:
        """Limit and burst of one of the replicas, at least one request."""
        least = max(1, self.cost)
        return max(least, -(-self.limit // self.replicas)), max(least, -(-self.burst // self.replicas))


def key_of(scope: str, rule: Rule, subject: str) -> str:
    """Where the count of a subject is kept: of bounded length, and in one slot of a Redis Cluster for each scope."""
    digest = hashlib.blake2b(rule.seed + subject.encode(errors="replace"), digest_size=16).hexdigest()
    return f"limit:{{{scope}}}:{digest}"


class Charge(NamedTuple):
    """A rule with the key that a request is counted under.

    Attributes
    ----------
    on_trust : bool
        The key names somebody who has not proven to be that one yet; `RateLimiter.give_back` takes the charge back.
    """

    rule: Rule
    key: str
    on_trust: bool = False


class Standing(NamedTuple):
    """What one rule says of a request.

    Attributes
    ----------
    passed : bool
        Whether the rule lets the request through.
    remaining : int
        Units that are left afterwards.
    reset_us : int
        Until more is left, if nothing else comes.
    retry_us : int
        After which the same request passes, if nothing else comes; 0 where it passed.
    """

    rule: Rule
    passed: bool
    remaining: int
    reset_us: int
    retry_us: int


class Receipt(NamedTuple):
    """What was charged, for giving it back.

    Attributes
    ----------
    charges : tuple of Charge
        The charges.
    charged_at_us : int
        The moment of the charge by the clock that counts.
    lease : str
        Of the requests in progress; empty without a concurrency rule.
    here : bool
        Counted by this process, not in Redis.
    """

    charges: tuple[Charge, ...]
    charged_at_us: int
    lease: str
    here: bool

    def only(self, wanted: Callable[[Charge], bool]) -> "Receipt":
        """The part of it that is about some charges."""
        return self._replace(charges=tuple(c for c in self.charges if wanted(c)))


class Decision(NamedTuple):
    """What was decided about a request.

    Attributes
    ----------
    admitted : bool
        Whether it may go on; then everything was charged, otherwise nothing.
    standings : tuple of Standing
        One for each charge that was judged.
    receipts : tuple of Receipt
        What was charged, and where.
    unchecked : Rule | None
        Because of which it is refused although nobody counted: the counters are away, and the rule is closed then.
    wait_us : int
        Until the counters may be back, where ``unchecked``.
    """

    admitted: bool
    standings: tuple[Standing, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    unchecked: Rule | None = None
    wait_us: int = 0

    @property
    def refusing(self) -> Standing | None:
        """The standing that holds the request up for longest; None if it was admitted or nobody counted."""
        held = [s for s in self.standings if not s.passed and s.rule.enforced]
        return max(held, key=lambda s: s.retry_us) if held else None

    @property
    def retry_after_ms(self) -> int:
        """Milliseconds after which the same request passes, if nothing else comes; 0 for an admitted one."""
        if self.unchecked is not None:
            return max(1, -(-self.wait_us // 1000))
        refusing = self.refusing
        return max(1, -(-refusing.retry_us // 1000)) if refusing else 0


ADMITTED = Decision(admitted=True)
"""Of a request that no rule is about."""
