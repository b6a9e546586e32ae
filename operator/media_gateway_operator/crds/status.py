"""What all statuses share: conditions as metav1.Condition has them, bounded texts and numbers.

Used by the status models. Numbers that are no integers are decimal strings, times are RFC 3339 in UTC.
"""

from typing import Annotated, Literal

from pydantic import Field

from media_gateway.core.domain.spec_types import Keyed, Spec

Count = Annotated[int, Field(ge=0)]
Percent = Annotated[int, Field(ge=0, le=100)]
Number = Annotated[str, Field(max_length=32, pattern=r"^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$")]
"""A measured number, as a decimal string."""
Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
"""RFC 3339, in UTC."""
Name = Annotated[str, Field(max_length=253)]
Word = Annotated[str, Field(max_length=128)]
Message = Annotated[str, Field(max_length=1024)]
Address = Annotated[str, Field(max_length=2048)]


class Condition(Spec):
    """One thing that is true of the object or not; the shape is metav1.Condition."""

    type: Annotated[str, Field(max_length=316, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    """What is told: a name out of the kind's documented list."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Count | None = None
    """Generation of the spec that was looked at; older than metadata.generation: not looked at yet."""
    last_transition_time: Time
    """When `status` last changed."""
    reason: Annotated[
        str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    """Why, in one word that programs may compare."""
    message: Annotated[str, Field(max_length=4096)]
    """Why, in a sentence, and what to do about it."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), Keyed("type")]
