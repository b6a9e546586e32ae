"""What ran on which cluster, what was skipped and why: at the end of the run, and as a file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.cluster.access import Cluster


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run."""

    provider: str
    context: str
    abilities: list[str]
    passed: dict[str, float]
    """Seconds by test."""
    failed: list[str]
    again: dict[str, list[str]]
    """Tests that were run again, and why each time: a crowded machine, or a claim that does not always hold."""
    skipped: dict[str, str]
    """Reason by test."""
    measured: dict[str, Any]
    """What tests have recorded with `record_property`."""

    @classmethod
    def of(cls, stats: Mapping[str, Sequence[Any]], cluster: "Cluster") -> Self:
        """Take it from what pytest's terminal reporter has collected."""
        passed = {each.nodeid: round(each.duration, 2) for each in stats.get("passed", ())}
        failed = sorted({each.nodeid for outcome in ("failed", "error") for each in stats.get(outcome, ())})
        again: dict[str, list[str]] = {}
        for each in stats.get("rerun", ()):
            again.setdefault(each.nodeid, []).append(_failure(each.longrepr))
        skipped = {each.nodeid: _reason(each.longrepr) for each in stats.get("skipped", ())}
        reports = [each for outcome in ("passed", "failed") for each in stats.get(outcome, ())]
        measured = {name: value for each in reports for name, value in each.user_properties}
        abilities: list[str] = sorted(cluster.abilities)
        return cls(cluster.provider, cluster.context, abilities, passed, failed, again, skipped, measured)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"provider: {self.provider} (context {self.context}; can: {', '.join(self.abilities)})"
        yield f"ran: {len(self.passed) + len(self.failed)}, of which failed: {len(self.failed)}"
        for what, value in self.measured.items():
            yield f"{what}: {value}"
        yield f"run again after a failure: {len(self.again)}"
        for name, failures in sorted(self.again.items()):
            for failure in failures:
                yield f"  {name}: {failure}"
        yield f"skipped: {len(self.skipped)}"
        for name, reason in sorted(self.skipped.items()):
            yield f"  {name}: {reason}"

    def write(self) -> None:
        """Write it beside the cluster's logs."""
        from tests.cluster.machine.places import work_folder

        folder = work_folder()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(asdict(self), indent=2) + "\n")


def _failure(longrepr: object) -> str:
    crash = getattr(longrepr, "reprcrash", None)
    if crash is None:
        return str(longrepr)[-1000:]
    return f"{Path(crash.path).name}:{crash.lineno}: {crash.message}"[:1000]


def _reason(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ")
