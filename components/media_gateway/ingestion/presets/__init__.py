"""Mappings of well-known sources, and the vocabularies of languages, countries, genres and platforms; all in YAML."""

from functools import cache
from importlib import resources
from typing import Any

import yaml

from media_gateway.core.domain.specs import MappingSpec, PresetName


@cache
def load_preset(name: PresetName) -> MappingSpec:
    """A preset's rules."""
    return MappingSpec.model_validate(_read(f"{name}.yaml"))


@cache
def vocabulary(name: str) -> dict[str, Any]:
    """A table of ``vocabularies.yaml``, its keys in lower case."""
    return {str(key).lower(): value for key, value in _read("vocabularies.yaml")[name].items()}


@cache
def _read(name: str) -> dict[str, Any]:
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document
