"""What Prometheus is told of a gateway: where to scrape, and when to alert.

Pure functions. Alerts are those of the SRE workbook, chapter 5, table 5-8 (multi-window burn rates): a page where 2 % of
the error budget burn in an hour, a ticket where 5 % burn in six; with the usual window of 30 days these are the factors
14.4 and 6.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from media_gateway_operator.crds.gateway import Sla
from media_gateway_operator.kube.kinds import Object
from media_gateway_operator.mediagateway.components import Row
from media_gateway_operator.mediagateway.environment import child_name
from media_gateway_operator.mediagateway.pods import labels_of, selector_of
from media_gateway_operator.mediagateway.workloads import Owner

_BURNS: Final = (
    # severity, share of the budget, long window, its hours, short window, for
    ("critical", Decimal("0.02"), "1h", 1, "5m", "2m"),
    ("warning", Decimal("0.05"), "6h", 6, "30m", "15m"),
)
_REQUESTS: Final = "mgw_http_requests_total"
_SECONDS: Final = "mgw_http_request_duration_seconds_bucket"


def service_monitor(owner: Owner, row: Row) -> Object:
    """Where a component's metrics are."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _metadata(owner, row.name),
        "spec": {
            "selector": {"matchLabels": selector_of(owner.name, row.name)},
            "endpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
        },
    }


def prometheus_rule(owner: Owner, rows: Sequence[Row]) -> Object | None:
    """Alerts of the components that have objectives; None if none has."""
    groups = [
        {"name": f"{child_name(owner.name, row.name)}.sla", "rules": _rules(owner, row, sla)}
        for row in rows
        if (sla := owner.component(row).sla) is not None
    ]
    if not groups:
        return None
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _metadata(owner, "sla"),
        "spec": {"groups": groups},
    }


def _rules(owner: Owner, row: Row, sla: Sla) -> list[Object]:
    series = (
        f'component="{row.name}",namespace="{owner.namespace}",service="{child_name(owner.name, row.name)}"'
    )
    rules = [_burn(owner, row, sla, series, *one) for one in _BURNS]
    for quantile, limit_ms in (("0.95", sla.p95_milliseconds), ("0.99", sla.p99_milliseconds)):
        if limit_ms is not None:
            rules.append(_latency(owner, row, series, quantile, limit_ms))
    return rules


def _burn(  # noqa: PLR0913, PLR0917 - a row of the table above, and whom it is for
    owner: Owner,
    row: Row,
    sla: Sla,
    series: str,
    severity: str,
    share: Decimal,
    long: str,
    hours: int,
    short: str,
    wait: str,
) -> Object:
    factor = share * sla.window_days * 24 / hours
    limit = (factor * (100 - Decimal(sla.availability)) / 100).normalize()

    def failing(window: str) -> str:
        failed = f'sum(rate({_REQUESTS}{{{series},status=~"5.."}}[{window}]))'
        return f"{failed} / sum(rate({_REQUESTS}{{{series}}}[{window}])) > {limit:f}"

    return {
        "alert": "MediaGatewayErrorBudgetBurn",
        "expr": f"({failing(long)}) and ({failing(short)})",
        "for": wait,
        "labels": {"severity": severity, "gateway": owner.name, "component": row.name},
        "annotations": {
            "summary": f"{row.name} of {owner.namespace}/{owner.name} spends its error budget "
            f"{factor.normalize():f} times as fast as {sla.availability} % over {sla.window_days} days allow"
        },
    }


def _latency(owner: Owner, row: Row, series: str, quantile: str, limit_ms: int) -> Object:
    rate = f"sum by (le) (rate({_SECONDS}{{{series}}}[10m]))"
    limit = (Decimal(limit_ms) / 1000).normalize()
    return {
        "alert": "MediaGatewayLatencyHigh",
        "expr": f"histogram_quantile({quantile}, {rate}) > {limit:f}",
        "for": "10m",
        "labels": {
            "severity": "warning",
            "gateway": owner.name,
            "component": row.name,
            "quantile": quantile,
        },
        "annotations": {
            "summary": f"{row.name} of {owner.namespace}/{owner.name} takes longer than {limit_ms} ms "
            f"for more than {100 - int(Decimal(quantile) * 100)} % of its requests"
        },
    }


def _metadata(owner: Owner, part: str) -> Object:
    return {
        "name": child_name(owner.name, part),
        "namespace": owner.namespace,
        "labels": labels_of(owner.name, part),
    }
