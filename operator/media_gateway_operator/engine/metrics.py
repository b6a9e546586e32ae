"""The operator's metrics. Names are API: dashboards and alerts ask for them."""

from collections.abc import Callable, Iterable

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

DURATIONS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

reconcile_seconds = Histogram(
    "mgw_operator_reconcile_duration_seconds",
    "How long reconciliations took, in seconds",
    ["kind", "outcome"],
    buckets=DURATIONS_S,
)
reconcile_errors = Counter(
    "mgw_operator_reconcile_errors_total", "Failed reconciliations by the error's code", ["kind", "code"]
)
queue_wait = Histogram(
    "mgw_operator_queue_wait_seconds",
    "How long resources waited in line, in seconds",
    ["kind"],
    buckets=DURATIONS_S,
)
drift_corrected = Counter(
    "mgw_operator_drift_corrected_total",
    "Children that somebody had changed and the operator changed back",
    ["kind"],
)
events_posted = Counter("mgw_operator_events_total", "Kubernetes Events by outcome", ["outcome"])
progress_reports = Counter(
    "mgw_operator_progress_reports_total", "Reports of job pods by the answer's status", ["status"]
)
leading = Gauge("mgw_operator_lease_held", "1 while this replica leads")
lease_renewals = Counter("mgw_operator_lease_renewals_total", "Tries to renew the Lease", ["outcome"])
loop_lag = Gauge("mgw_operator_loop_lag_seconds", "How late the event loop was at the last look, in seconds")

Samples = Callable[[], Iterable[tuple[tuple[str, ...], float]]]


class _Scraped(Collector):
    """A gauge that is computed when it is asked for."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], samples: Samples) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, value in self._samples():
            family.add_metric(values, value)
        yield family


def on_scrape(name: str, documentation: str, labels: tuple[str, ...], samples: Samples) -> Callable[[], None]:
    """Register a gauge that is computed when it is asked for; call the result to take it away."""
    collector = _Scraped(name, documentation, labels, samples)
    REGISTRY.register(collector)
    return lambda: REGISTRY.unregister(collector)
