"""The components of this release, one row each. A later component joins by its row; no other module names one.

Read by every builder of this package. What a row says must be true of the component's ``app.py``: a test compares the
two.
"""

from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Literal

from media_gateway.core.bootstrap import BackendName

Stage = Literal["auth", "data", "gateway"]

STAGES: Final[tuple[Stage, ...]] = ("auth", "data", "gateway")
"""A rollout goes through these in order: tokens must be understood before they are asked for, the door comes last."""

Quantities = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One component.

    Attributes
    ----------
    name : str
        Key in ``spec.components``, image target, ``python -m media_gateway.<name>``.
    port : int
        Where it answers HTTP.
    needs : set of {"database", "redis", "vectors", "events", "embedder"}
        Backends whose addresses it gets, and may connect to.
    stage : str
        When a rollout reaches it.
    callers : set of str
        Components that ask it over HTTP; who may connect to whom follows from these. A caller that has no row yet stands
        for any pod of the namespace: until the gateway exists, the components behind it are the door.
    outside : bool
        Connects to servers outside of the cluster (sources of catalogues).
    resources : Mapping
        Requests and limits unless the resource gives its own. No CPU limit: throttling costs more tail latency than
        a neighbour does.
    environment : Mapping
        Non-secret variables beyond the common ones.
    """

    name: str
    port: int
    needs: AbstractSet[BackendName] = frozenset()
    stage: Stage = "data"
    callers: AbstractSet[str] = frozenset()
    outside: bool = False
    resources: Quantities = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


ROWS: Final[Mapping[str, Row]] = {
    row.name: row
    for row in (
        Row(
            name="discovery",
            port=8081,
            needs=frozenset({"database", "redis", "vectors", "events", "embedder"}),
            callers=frozenset({"gateway", "mcp"}),
            resources={
                "requests": {"cpu": "100m", "memory": "384Mi"},
                "limits": {"memory": "1Gi"},
            },
        ),
        Row(
            name="ingestion",
            port=8085,
            needs=frozenset({"database", "redis", "vectors", "events", "embedder"}),
            callers=frozenset({"gateway"}),
            outside=True,
            resources={
                "requests": {"cpu": "100m", "memory": "384Mi"},
                "limits": {"memory": "1Gi"},
            },
        ),
    )
}
