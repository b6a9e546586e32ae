"""Reasons of IngestionJob's conditions and Events: API, listed in docs/custom-resources.md, never changed once released.

Reasons that other kinds use too have the same words there. How a run failed is told by `outcome.EXIT_MEANINGS` and by
batch/v1's own words (``BackoffLimitExceeded``, ``DeadlineExceeded``).
"""

from typing import Final

ACCEPTED: Final = "Accepted"
INVALID_REFERENCE: Final = "InvalidReference"
"""A MediaGateway or a Secret that the job needs is not there."""
INVALID_SPEC: Final = "InvalidSpec"
"""The resource is stored with fields that can't be carried out; the message names them."""
MANIFEST_TOO_LARGE: Final = "ManifestTooLarge"
PAUSED: Final = "Paused"
"""Accepted, and the annotation mediagateway.io/paused keeps the operator from changing anything."""

WAITING_FOR_GATEWAY: Final = "WaitingForGateway"
"""The MediaGateway has not migrated its database yet."""
WAITING_FOR_PODS: Final = "WaitingForPods"
"""Pods of an earlier attempt still run."""
STARTING: Final = "Starting"
RETRYING: Final = "Retrying"
STOPPING: Final = "Stopping"
POD_READY: Final = "PodReady"
NOT_ACCEPTED: Final = "NotAccepted"
SUSPENDED: Final = "Suspended"
SUSPENDING: Final = "Suspending"
"""Asked to stop; the pod writes its checkpoint."""
NOT_SUSPENDED: Final = "NotSuspended"
WAITING_FOR_SCHEDULE: Final = "WaitingForSchedule"
FINISHED: Final = "Finished"

NOT_FINISHED: Final = "NotFinished"
NOT_LAST: Final = "NotLast"
"""Of a job with a schedule: its newest finished run ended the other way."""
COMPLETED: Final = "Completed"
FAILED: Final = "Failed"
PRE_RUNNING_DEADLINE_EXCEEDED: Final = "PreRunningDeadlineExceeded"
"""No pod got ready within spec.preRunningDeadlineSeconds."""
LAST_RUN_COMPLETE: Final = "LastRunComplete"
LAST_RUN_FAILED: Final = "LastRunFailed"
"""Of a job with a schedule: how its newest finished run ended. Not final."""

NO_PROGRESS: Final = "NoProgress"
PROGRESSING: Final = "Progressing"
NOT_RUNNING: Final = "NotRunning"

STARTED: Final = "Started"
RESUMED: Final = "Resumed"
STALLED: Final = "Stalled"
