"""What a Job and its pods say: how far a run is, why it does not begin, how it ended. Read by `reconciler`; pure.

Pods are not watched. They are listed when a Job's failures grew or its pods don't get ready, and this module finds in
them what a person wants to know.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from media_gateway_operator.kube.kinds import Object

CONTAINER: Final = "ingestion"
"""Name of the container in the pods of a job; exit codes are read of this one."""
LOG_TAIL_BYTES: Final = 1024
LAST_LINE_LENGTH: Final = 300

Result = Literal["Complete", "Failed"]

EXIT_MEANINGS: Final[Mapping[int, tuple[str, str]]] = {
    64: ("InvalidManifest", "the manifest is wrong"),
    65: ("RunFailed", "the job failed by its own rules, or was cancelled"),
    69: ("SourceUnavailable", "the source is not there, or answers what can't be used"),
    70: ("InternalError", "an error that should not happen"),
    77: ("PermissionDenied", "the source refuses the credentials"),
    78: ("ConfigurationError", "a setting, a secret, an optional package or the schema is missing"),
    137: ("Killed", "the container was killed"),
    143: ("Stopped", "the container was told to stop"),
}
"""Exit status of a job's container (docs/ingestion.md): reason and meaning."""

_IMAGE_PROBLEMS = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable",
}  # fmt: skip
_CONTAINER_PROBLEMS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_POLICY_EXIT = re.compile(r"failed with exit code (\d{1,3})\b")
_WORD = re.compile(r"[A-Z][A-Za-z0-9]{2,63}")


def parse_time(text: str | None) -> datetime | None:
    """A Kubernetes time as aware UTC, in whole seconds; None stays None."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0) if text else None


def format_time(time: datetime) -> str:
    """A time as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What matters of a batch/v1 Job.

    Attributes
    ----------
    suspended : bool
        As its spec has it; pods may still be stopping.
    active, ready, failed, terminating : int
        Pods, as counted by kube-controller-manager.
    started : datetime | None
        When it was last started or resumed; None while it is suspended.
    result : {"Complete", "Failed"} | None
        None while it is unfinished.
    reason, message : str
        Of the condition that ended it.
    ended : datetime | None
        When it ended.
    stopping : bool
        Its failure is certain and its pods are being stopped.
    deleting : bool
        Somebody has deleted it, and something holds it.
    """

    name: str
    uid: str
    created: datetime
    suspended: bool
    active: int
    ready: int
    failed: int
    succeeded: int
    terminating: int
    started: datetime | None
    result: Result | None
    reason: str
    message: str
    ended: datetime | None
    stopping: bool
    deleting: bool

    @classmethod
    def of(cls, job: Object) -> "JobState":
        """Read a Job."""
        metadata, status = job["metadata"], job.get("status") or {}
        true = {one["type"]: one for one in status.get("conditions") or () if one.get("status") == "True"}
        result: Result | None = "Complete" if "Complete" in true else "Failed" if "Failed" in true else None
        end = true[result] if result else {}
        suspended = bool(job["spec"].get("suspend"))
        return cls(
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            created=parse_time(metadata.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC),
            suspended=suspended,
            active=status.get("active") or 0,
            ready=status.get("ready") or 0,
            failed=status.get("failed") or 0,
            succeeded=status.get("succeeded") or 0,
            terminating=status.get("terminating") or 0,
            # A suspended Job keeps the time of its former start until it is resumed.
            started=None if suspended and not result else parse_time(status.get("startTime")),
            result=result,
            reason=end.get("reason") or "",
            message=end.get("message") or "",
            ended=parse_time(status.get("completionTime") or end.get("lastTransitionTime"))
            if result
            else None,
            stopping=result is None and "FailureTarget" in true,
            deleting="deletionTimestamp" in metadata,
        )

    @property
    def running(self) -> bool:
        """Whether it is unfinished and not suspended."""
        return self.result is None and not self.suspended and not self.deleting

    @property
    def idle(self) -> bool:
        """Whether no pod of it is there or about to go."""
        return not self.active and not self.terminating

    @property
    def has_run(self) -> bool:
        """Whether its counts prove that a pod of it ran."""
        return bool(self.ready or self.failed or self.succeeded or self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How an attempt ended.

    Attributes
    ----------
    reason : str
        One word; API.
    message : str
        A sentence for a person.
    exit_code : int | None
        Of the container, if it ran.
    log_tail : str
        Its last lines, at most 1 KiB.
    """

    reason: str
    message: str
    exit_code: int | None = None
    log_tail: str = ""

    def last_run(self, job: str) -> Object:
        """As ``status.lastRun`` has it."""
        found: dict[str, Any] = {
            "name": job,
            "result": "Failed",
            "reason": self.reason,
            "message": self.message[:1024],
        }
        if self.exit_code is not None:
            found["exitCode"] = self.exit_code
        if self.log_tail:
            found["logTail"] = self.log_tail
        return found


def failure_of(pods: Iterable[Object], job: JobState) -> Failure | None:
    """How the last failed pod of a Job ended; None if none is left to be asked."""
    failed = [pod for pod in pods if _owned(pod, job.uid) and pod.get("status", {}).get("phase") == "Failed"]
    if not failed:
        return None
    pod = max(failed, key=_ended_at)
    ended = _terminated(pod)
    if ended is None:  # Evicted, or its node went away
        status = pod["status"]
        what = status.get("message") or "the pod ended without its container having run"
        return Failure(reason=_word(status.get("reason")) or "PodFailed", message=what)
    tail = tail_of(ended.get("message") or "")
    line, spoken = last_line(tail)
    code = int(ended.get("exitCode") or 0)
    reason, meaning = EXIT_MEANINGS.get(code, ("PodFailed", "the run failed"))
    if ended.get("reason") == "OOMKilled":
        reason, meaning = (
            "OOMKilled",
            "the container needed more memory than spec.template.resources.limits allows",
        )
    elif code == 65:
        reason = spoken or reason
    message = f"exit code {code}: {meaning}" + (f": {line}" if line else "")
    return Failure(reason=reason, message=message, exit_code=code, log_tail=tail)


def end_of(job: JobState, pods: Iterable[Object]) -> Failure:
    """Why a Job failed for good: its own reason, and what its last pod says."""
    last = failure_of(pods, job)
    if last is None:
        code = _POLICY_EXIT.search(job.message)
        number = int(code[1]) if code else None
        reason, meaning = EXIT_MEANINGS.get(number or 0, (_word(job.reason) or "JobFailed", ""))
        message = f"exit code {number}: {meaning}" if meaning else job.message or "the Job failed"
        return Failure(reason=reason, message=message, exit_code=number)
    match job.reason:
        case "BackoffLimitExceeded":
            message = f"{job.failed} attempts failed, the last one: {last.message}"
            return Failure(
                reason=job.reason, message=message, exit_code=last.exit_code, log_tail=last.log_tail
            )
        case "DeadlineExceeded":
            message = "the job took longer than spec.activeDeadlineSeconds"
            return Failure(reason=job.reason, message=message, exit_code=None, log_tail=last.log_tail)
        case _:
            return last


def obstacle(pods: Iterable[Object], job: JobState) -> tuple[str, str] | None:
    """Why a Job's pods don't get ready: reason and message, or None if nothing is known to be wrong.

    The message is the same as long as the obstacle is: what the kubelet says changes with every try.
    """
    for pod in pods:
        if not _owned(pod, job.uid):
            continue
        status = pod.get("status") or {}
        for one in status.get("conditions") or ():
            if one.get("type") == "PodScheduled" and one.get("reason") == "Unschedulable":
                return "Unschedulable", one.get("message") or "no node takes the pod"
        for container in status.get("containerStatuses") or ():
            reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
            if reason in _IMAGE_PROBLEMS:
                image = container.get("image", "")
                return "ImagePullFailed", f"the image {image} can't be pulled; see kubectl describe pod"
            if reason in _CONTAINER_PROBLEMS:
                name = pod["metadata"]["name"]
                return "ContainerNotCreated", f"{reason}; see kubectl describe pod {name}"
    return None


def details(pods: Iterable[Object], job: JobState) -> str:
    """What the kubelet said last of a container that does not begin; empty if nothing."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if _owned(pod, job.uid) and waiting.get("message"):
                return str(waiting["message"])
    return ""


def foreign(pods: Iterable[Object], job: JobState | None) -> Sequence[str]:
    """Names of pods that still run and don't belong to the Job."""
    return [
        pod["metadata"]["name"]
        for pod in pods
        if (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}
        and not (job is not None and _owned(pod, job.uid))
    ]


def tail_of(log: str) -> str:
    """The last lines of a log, whole ones where they fit, in at most 1 KiB."""
    body = log.strip().encode("utf-8", "replace")
    if len(body) <= LOG_TAIL_BYTES:
        return body.decode()
    cut = body[-LOG_TAIL_BYTES:]
    begin = cut.find(b"\n") + 1
    return cut[begin:].decode("utf-8", "ignore")


def last_line(tail: str) -> tuple[str, str | None]:
    """The last line as a person reads it and, where the program gave one, its reason."""
    lines = [line for line in tail.splitlines() if line.strip()]
    if not lines:
        return "", None
    line = lines[-1].strip()
    try:
        record = json.loads(line)
    except ValueError:
        return line[:LAST_LINE_LENGTH], None
    if not isinstance(record, dict):
        return line[:LAST_LINE_LENGTH], None
    said = record.get("error") or record.get("message") or line
    return str(said)[:LAST_LINE_LENGTH], _word(record.get("reason"))


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _owned(pod: Object, uid: str) -> bool:
    return any(one.get("uid") == uid for one in pod["metadata"].get("ownerReferences") or ())


def _terminated(pod: Object) -> Object | None:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if container.get("name") == CONTAINER and isinstance(ended, dict):
            return ended
    return None


def _ended_at(pod: Object) -> str:
    ended = _terminated(pod) or {}
    return str(ended.get("finishedAt") or pod["metadata"].get("creationTimestamp") or "")
