"""What all manifest models share: the base model, rules that Python and an API server both check, bounded value types.

Used by the ``spec_*`` modules, `specs` and the operator's resource models; others import from `specs`. Every string, list
and map is bounded, because an API server refuses rules whose cost it can't estimate.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

VALIDATIONS: Final = "x-kubernetes-validations"
"""Where a Kubernetes schema keeps its rules, and where a model's JSON schema does."""

Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]


class Rule(NamedTuple):
    """A condition on a whole object, stated once for both that check it: here, and an API server by CEL.

    Both say the same; the table of manifests in ``tests/data/manifests`` is what holds them together.
    """

    message: str
    """What is needed, as a sentence for the manifest's author."""
    cel: str
    """True where the condition holds; `self` is the object, defaults filled in."""
    holds: Callable[[Any], bool] | None
    """The same for the model; None for what only an API server can see: the object before the change (`oldSelf`)."""
    field: str = ""
    """Member the author has to change (``cursorField``), where it is one."""
    reason: Reason = "FieldValueInvalid"

    def schema(self) -> dict[str, str]:
        """This rule as Kubernetes writes it."""
        path = {"fieldPath": f".{self.field}"} if self.field else {}
        return {"rule": self.cel, "message": self.message, "reason": self.reason, **path}


class Spec(BaseModel):
    """Immutable, camelCase outside, unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()
    """Conditions that name more than one member."""

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in self.RULES:
            if rule.holds is not None and not rule.holds(self):
                raise ValueError(rule.message)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        found = handler(schema)
        if cls.RULES:
            handler.resolve_ref_schema(found)[VALIDATIONS] = [rule.schema() for rule in cls.RULES]
        return found


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on one value, stated once for both that check it."""

    message: str
    cel: str
    holds: Callable[[Any], bool] | None
    """None for what only an API server can see."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        if self.holds is None:
            return inner
        holds = self.holds

        def check(value: Any) -> Any:
            if not holds(value):
                raise ValueError(self.message)
            return value

        return core_schema.no_info_after_validator_function(check, inner)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        rules = [*found.get(VALIDATIONS, ()), {"rule": self.cel, "message": self.message}]
        return {**found, VALIDATIONS: rules}


def matches(pattern: str, message: str) -> Check:
    """A pattern whose failure is told in words; ``pattern`` is written for RE2 and anchored at both ends."""
    expression = re.compile(pattern, re.ASCII)
    # A JSON string of ASCII characters is a CEL string too.
    cel = f"self.matches({json.dumps(pattern)})"
    return Check(message, cel, lambda value: expression.fullmatch(str(value)) is not None)


@dataclass(frozen=True, slots=True)
class Keyed:
    """A list whose items are told apart by one member, and merged by it when several appliers write the list."""

    key: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(items: Any) -> Any:
            names = [getattr(item, self.key) for item in items]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{self.key} {twice!r} appears twice")
            return items

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            **handler(schema),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [self.key],
        }


IMMUTABLE: Final = Check("can't be changed; delete the object and create it anew", "self == oldSelf", None)

IN_CODE: Final[dict[str, Any]] = {"x-default-in-code": True}
"""``json_schema_extra`` of a field whose default an API server shall not write into every object."""


def decimal_text(value: object) -> object:
    """A number as text; everything else as it is."""
    # YAML writes 0.5 as a float; the schema knows strings only, so that no digit is lost on the way.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


DnsLabel = Annotated[
    str,
    Field(max_length=63),
    matches(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be lower-case letters, digits and '-', with no '-' at its ends",
    ),
]
JOB_NAME = r"^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$"
JobName = Annotated[
    str,
    Field(max_length=50),
    matches(JOB_NAME, "must begin with a lower-case letter and hold lower-case letters, digits and '-' only"),
]
"""Short enough that the pods of a job named after it have a legal name too (RFC 1035 label, 63)."""
Text = Annotated[str, Field(min_length=1, max_length=1000)]
ShortName = Annotated[str, Field(min_length=1, max_length=128)]
HttpUrl = Annotated[
    str,
    Field(max_length=2000),
    matches(r"^https?://[^\s/?#]+[^\s]*$", "must be an http:// or https:// address without spaces"),
]
DecimalText = Annotated[
    str,
    BeforeValidator(decimal_text),
    Field(max_length=20),
    matches(
        r"^([1-9][0-9]{0,6}(\.[0-9]{1,6})?|0\.[0-9]{1,6})$",
        "must be a decimal number in quotes, above zero and below 10 million, with at most 6 decimals",
    ),
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
    """One value of a Secret in the namespace. On a laptop it is looked up in the environment or in a folder."""

    name: Annotated[
        str,
        Field(max_length=253),
        matches(
            r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            "must be the name of a Secret: lower-case letters, digits, '-' and '.'",
        ),
    ]
    """Name of the Secret."""
    key: Annotated[
        str,
        Field(max_length=253),
        matches(r"^[-._a-zA-Z0-9]+$", "must be a key of the Secret: letters, digits, '-', '_' and '.'"),
    ]
    """Key whose value is taken."""
