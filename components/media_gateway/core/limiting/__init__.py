"""Rate limits: documents of limits, counters in Redis that judge all of a request's at once, what holds while it is away.

A component names its limits in `Component.limits` and its endpoints by the route option ``limits``; the web kit does the
rest. For what is no request, `RateLimiter` is used as it is.
"""

from media_gateway.core.limiting.book import FilePlace, KeyPlace, LimitBook
from media_gateway.core.limiting.compiling import Asked, ClientKind, RuleSet
from media_gateway.core.limiting.defaults import SignInLimits, sign_in_limits, tier_limits
from media_gateway.core.limiting.document import LimitDocument, LimitView, read_document
from media_gateway.core.limiting.limiter import RateLimiter
from media_gateway.core.limiting.rules import Charge, Decision, FailureMode, Kind, Rule, key_of
from media_gateway.core.limiting.sources import Sources
from media_gateway.core.limiting.store import CounterStore

__all__ = [
    "Asked",
    "Charge",
    "ClientKind",
    "CounterStore",
    "Decision",
    "FailureMode",
    "FilePlace",
    "KeyPlace",
    "Kind",
    "LimitBook",
    "LimitDocument",
    "LimitView",
    "RateLimiter",
    "Rule",
    "RuleSet",
    "SignInLimits",
    "Sources",
    "key_of",
    "read_document",
    "sign_in_limits",
    "tier_limits",
]
