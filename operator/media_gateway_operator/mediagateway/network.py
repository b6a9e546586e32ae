"""NetworkPolicies, derived from who calls whom and who needs which server.

Pure functions. Into a pod comes what the rows of `components` say and nothing else, besides scrapes of its metrics. Out of
it goes DNS, what it needs, and, where that can't be told from here, anything: a server in mode External has an address
that only its Secret knows, and sources of catalogues are anywhere.
"""

from collections.abc import Iterable
from typing import Final

from media_gateway_operator.kube.kinds import LABEL_JOB, Object
from media_gateway_operator.mediagateway.components import ROWS, Row
from media_gateway_operator.mediagateway.embedded import SERVERS, Server
from media_gateway_operator.mediagateway.environment import child_name, mode_of, servers_of
from media_gateway_operator.mediagateway.pods import labels_of, selector_of
from media_gateway_operator.mediagateway.workloads import METRICS_PORT, Owner

_DNS: Final[Object] = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
_ANYWHERE: Final[Object] = {}
_NAMESPACE: Final[Object] = {"podSelector": {}}
_CLUSTER: Final[Object] = {"namespaceSelector": {}}


def component_policy(owner: Owner, row: Row, enabled: Iterable[Row]) -> Object:
    """What may reach a component, and what it may reach.

    Parameters
    ----------
    enabled
        The components that are on.
    """
    callers: list[Object] = [_pods(owner, name) for name in sorted(row.callers & ROWS.keys())]
    if row.callers - ROWS.keys():
        callers = [_NAMESPACE]
    ingress = [
        *([{"from": callers, "ports": [_port(row.port)]}] if callers else ()),
        {"from": [_CLUSTER], "ports": [_port(METRICS_PORT)]},
    ]
    called = [one for one in enabled if row.name in one.callers]
    egress = [
        _DNS,
        *_to_servers(owner, servers_of(owner.spec, row.needs)),
        *({"to": [_pods(owner, one.name)], "ports": [_port(one.port)]} for one in called),
    ]
    if row.outside or owner.spec.auth.jwks_uri is not None:
        egress = [_ANYWHERE]
    return _policy(owner, row.name, ingress, egress)


def server_policy(owner: Owner, server: Server, enabled: Iterable[Row]) -> Object:
    """What may reach an embedded server: what needs it, migrations, and the pods of IngestionJobs. It calls nobody."""
    clients = [one for one in enabled if server.name in servers_of(owner.spec, one.needs)]
    peers = [
        *(_pods(owner, one.name) for one in clients),
        {"podSelector": {"matchExpressions": [{"key": LABEL_JOB, "operator": "Exists"}]}},
    ]
    if server.name == "postgres":
        peers.append(_pods(owner, "migrate"))
    if server.name == "kafka":
        # A broker is its own client: it reaches itself by the name that it advertises.
        peers.append(_pods(owner, server.name))
    ingress = [{"from": peers, "ports": [_port(server.port)]}]
    egress = [_DNS, *(_to_servers(owner, frozenset({"kafka"})) if server.name == "kafka" else ())]
    return _policy(owner, server.name, ingress, egress)


def migration_policy(owner: Owner) -> Object:
    """A migration reaches the database, and nothing reaches it."""
    egress = [_DNS, *_to_servers(owner, frozenset({"postgres"}))]
    return _policy(owner, "migrate", [], egress)


def _to_servers(owner: Owner, servers: frozenset[str]) -> list[Object]:
    if any(mode_of(owner.spec, name) == "External" for name in servers):
        return [_ANYWHERE]
    return [{"to": [_pods(owner, name)], "ports": [_port(SERVERS[name].port)]} for name in sorted(servers)]


def _pods(owner: Owner, part: str) -> Object:
    return {"podSelector": {"matchLabels": selector_of(owner.name, part)}}


def _port(number: int) -> Object:
    return {"port": number, "protocol": "TCP"}


def _open_if_any(egress: list[Object]) -> list[Object]:
    # An empty rule allows everything: the others beside it would only pretend to narrow it.
    return [_ANYWHERE] if _ANYWHERE in egress else egress


def _policy(owner: Owner, part: str, ingress: list[Object], egress: list[Object]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": child_name(owner.name, part),
            "namespace": owner.namespace,
            "labels": labels_of(owner.name, part),
        },
        "spec": {
            "podSelector": {"matchLabels": selector_of(owner.name, part)},
            "policyTypes": ["Ingress", "Egress"],
            # Left out where empty: an empty list would be a change each time it is applied.
            **({"ingress": ingress} if ingress else {}),
            "egress": _open_if_any(egress),
        },
    }
