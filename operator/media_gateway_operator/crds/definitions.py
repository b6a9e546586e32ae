"""The four CustomResourceDefinitions: names, columns and rules of the whole object around the models' schemas.

Called by the generator (``python -m media_gateway_operator.crds``) and by tests. Everything here is API: a name or a
column that was released stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from media_gateway.core.domain.spec_types import VALIDATIONS
from media_gateway.core.domain.specs import IngestionJobSpec, LoRATrainingJobSpec
from media_gateway_operator.crds.gateway import MediaGatewaySpec
from media_gateway_operator.crds.gateway_status import MediaGatewayStatus
from media_gateway_operator.crds.ingestion import IngestionJobStatus
from media_gateway_operator.crds.rate_limits import RateLimitPolicySpec, RateLimitPolicyStatus
from media_gateway_operator.crds.schema import structural_schema
from media_gateway_operator.crds.training import LoRATrainingJobStatus

GROUP = "mediagateway.io"
VERSION = "v1alpha1"
PART_OF = {"app.kubernetes.io/part-of": "media-gateway"}

_JOB_NAME_LENGTH = 50
"""A Job's name gets 9 characters more and its pods' names 6: 65 would be too long for a label's value, which the pods'
names are; a CronJob's name may have 52."""
_GATEWAY_NAME_LENGTH = 40
"""Names of components, roles and hashes follow it in the names of Services (RFC 1035 label, 63)."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; one with a priority above 0 is shown by ``-o wide`` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    priority: int = 0

    def document(self) -> dict[str, Any]:
        """This column in the definition."""
        return {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
            "priority": self.priority,
        }


AGE = Column("Age", ".metadata.creationTimestamp", "Time since it was created", "date")


def _condition(name: str, member: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].{member}'


@dataclass(frozen=True, slots=True)
class CustomResource:
    """One kind."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[Column, ...]
    name_length: int | None = None
    """Longest name, where names of children are made of it; then it must be an RFC 1035 label too."""
    rules: tuple[Mapping[str, str], ...] = ()
    """Rules of the whole object."""

    @property
    def name(self) -> str:
        """Name of the definition."""
        return f"{self.plural}.{GROUP}"

    def document(self) -> dict[str, Any]:
        """The CustomResourceDefinition."""
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name, "labels": dict(PART_OF)},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "singular": self.kind.lower(),
                    "shortNames": [self.short_name],
                    # Not `mediagateway`: a category of that name would hide the kind from `kubectl get mediagateway NAME`.
                    "categories": ["all", "media-gateway"],
                },
                "conversion": {"strategy": "None"},
                "versions": [
                    {
                        "name": VERSION,
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "additionalPrinterColumns": [column.document() for column in self.columns],
                        "schema": {"openAPIV3Schema": self._schema()},
                    }
                ],
            },
        }

    def _schema(self) -> dict[str, Any]:
        rules = [*self._name_rules(), *(dict(rule) for rule in self.rules)]
        return {
            "description": self.description,
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string", "description": f"`{GROUP}/{VERSION}`."},
                "kind": {"type": "string", "description": f"`{self.kind}`."},
                "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
                "spec": structural_schema(self.spec, defaults=True),
                "status": structural_schema(self.status, defaults=False),
            },
            **({VALIDATIONS: rules} if rules else {}),
        }

    def _name_rules(self) -> list[dict[str, str]]:
        if self.name_length is None:
            return []
        return [
            {
                "rule": f"size(self.metadata.name) <= {self.name_length}",
                "message": f"must not be longer than {self.name_length} characters, because names of "
                "Jobs, Services and pods are made of it",
                "fieldPath": ".metadata.name",
            },
            {
                "rule": 'self.metadata.name.matches("^[a-z]([-a-z0-9]*[a-z0-9])?$")',
                "message": "must begin with a lower-case letter, hold lower-case letters, digits and "
                "'-' only, and not end with '-'",
                "fieldPath": ".metadata.name",
            },
        ]


MEDIA_GATEWAY = CustomResource(
    kind="MediaGateway",
    plural="mediagateways",
    short_name="mgw",
    description="The platform of one namespace: components, the servers behind them, and how they are run.",
    spec=MediaGatewaySpec,
    status=MediaGatewayStatus,
    columns=(
        Column("Ready", _condition("Ready", "status"), "Whether every component serves"),
        Column("Version", ".status.version.current", "Release that all components run"),
        Column("Components", ".status.componentsReady", "Components that are ready, of those that are on"),
        Column("SLA", _condition("SLAMet", "status"), "Whether the objectives hold"),
        AGE,
        Column("Reason", _condition("Ready", "reason"), "Why it is ready or not", priority=1),
        Column("Message", _condition("Ready", "message"), "Why, in a sentence", priority=1),
        Column(
            "P95",
            '.status.components[?(@.name=="gateway")].sla.p95Milliseconds',
            "95 of 100 requests to the gateway were answered within so many milliseconds",
            "integer",
            1,
        ),
        Column(
            "Actuator",
            '.status.components[?(@.name=="gateway")].autoscaler.actuator',
            "Who sets the gateway's replicas",
            priority=1,
        ),
    ),
    name_length=_GATEWAY_NAME_LENGTH,
)

INGESTION_JOB = CustomResource(
    kind="IngestionJob",
    plural="ingestionjobs",
    short_name="ingest",
    description="Reads a source, once or on a schedule, and writes its records into the catalogue.",
    spec=IngestionJobSpec,
    status=IngestionJobStatus,
    columns=(
        Column("Phase", ".status.phase", "The conditions in one word"),
        Column("Schedule", ".spec.schedule", "When it runs"),
        Column("Progress", ".status.progress.percent", "Percentage of the source that was read", "integer"),
        Column("Last Success", ".status.lastSuccessfulTime", "Time since a run ended well", "date"),
        AGE,
        Column("Reason", ".status.reason", "Why it is in this phase", priority=1),
        Column("Rate", ".status.progress.ratePerSecond", "Records a second", priority=1),
        Column("Next", ".status.nextScheduleTime", "When the schedule starts the next run", priority=1),
        Column("Cursor", ".status.cursor.value", "How far the source was read", priority=1),
    ),
    name_length=_JOB_NAME_LENGTH,
    rules=(
        {
            "rule": "!has(oldSelf.status) || !has(oldSelf.status.startTime) || self.spec.suspend || "
            "self.spec.source == oldSelf.spec.source",
            "message": "spec.source can't be changed once the job has started; set spec.suspend: true with the change",
            "fieldPath": ".spec.source",
            "reason": "FieldValueForbidden",
        },
    ),
)

LORA_TRAINING_JOB = CustomResource(
    kind="LoRATrainingJob",
    plural="loratrainingjobs",
    short_name="lora",
    description="Trains a LoRA adapter for recommendations, and promotes it when it is better.",
    spec=LoRATrainingJobSpec,
    status=LoRATrainingJobStatus,
    columns=(
        Column("Phase", ".status.phase", "The conditions in one word"),
        Column("Progress", ".status.progress.percent", "Percentage of the steps that are done", "integer"),
        Column("Loss", '.status.metrics[?(@.name=="loss")].value', "Training loss"),
        Column("Adapter", ".status.adapter.name", "Adapter that was made"),
        AGE,
        Column("Attempt", ".status.attempt", "Number of the present attempt", "integer", 1),
        Column("ETA", ".status.progress.estimatedRemainingSeconds", "Seconds until the end", "integer", 1),
        Column("Reason", ".status.reason", "Why it is in this phase", priority=1),
        Column("Node", ".status.failure.node", "Node on which the last attempt failed", priority=1),
    ),
    name_length=_JOB_NAME_LENGTH,
)

RATE_LIMIT_POLICY = CustomResource(
    kind="RateLimitPolicy",
    plural="ratelimitpolicies",
    short_name="rlp",
    description="Who may ask a MediaGateway how often.",
    spec=RateLimitPolicySpec,
    status=RateLimitPolicyStatus,
    columns=(
        Column("Target", ".spec.targetRef.name", "MediaGateway it is about"),
        Column("Mode", ".spec.mode", "Whether it gives way to more specific policies"),
        Column("Enforced", _condition("Enforced", "status"), "Whether every gateway replica holds to it"),
        Column("Ack", ".status.acknowledgedReplicas", "Gateway replicas that hold to it"),
        Column("Limits", ".status.effective.limits", "Limits in effect", "integer"),
        AGE,
        Column("Revision", ".status.revision", "Hash of the compiled limits", priority=1),
        Column("Overridden-By", ".status.overriddenBy[0].name", "A policy that stands before it", priority=1),
        Column("Reason", _condition("Enforced", "reason"), "Why it is enforced or not", priority=1),
    ),
)

CUSTOM_RESOURCES = (MEDIA_GATEWAY, INGESTION_JOB, LORA_TRAINING_JOB, RATE_LIMIT_POLICY)
