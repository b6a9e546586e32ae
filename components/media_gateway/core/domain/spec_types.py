"""What all manifest models share: the base model and bounded value types.

Used by the ``spec_*`` modules and `specs` only; others import from `specs`.
"""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Spec(BaseModel):
    """Immutable, camelCase outside, unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


def _decimal(value: object) -> object:
    # YAML writes 0.5 as a float; the schema knows strings only, so that no digit is lost on the way.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


DnsLabel = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
JOB_NAME = r"^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$"
JobName = Annotated[str, Field(max_length=50, pattern=JOB_NAME)]
"""RFC 1035 label; 50 because the children's names add to it."""
Text = Annotated[str, Field(min_length=1, max_length=1000)]
ShortName = Annotated[str, Field(min_length=1, max_length=128)]
HttpUrl = Annotated[str, Field(max_length=2000, pattern=r"^https?://[^\s/?#]+[^\s]*$")]
DecimalText = Annotated[
    str,
    BeforeValidator(_decimal),
    Field(max_length=20, pattern=r"^([1-9][0-9]{0,6}(\.[0-9]{1,6})?|0\.[0-9]{1,6})$"),
]
"""A number above zero, as a decimal string."""
Labels = Annotated[
    dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]], Field(max_length=64)
]
Annotations = Annotated[
    dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=4096)]], Field(max_length=64)
]
FieldValues = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=2000)]],
    Field(max_length=32),
]


class SecretRef(Spec):
    """One value of a secret. On a laptop `ingestion.sources.secrets` finds it in the environment or a folder."""

    name: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    key: Annotated[str, Field(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
