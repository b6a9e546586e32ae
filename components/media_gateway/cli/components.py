"""The services of this distribution. A new one joins the command line, `up` and the documents by a row here."""

import importlib
import os
from typing import Any

from media_gateway.core.errors import InvalidInputError
from media_gateway.core.settings import CoreSettings, unknown_variables
from media_gateway.core.web import Component

COMPONENTS = {
    "auth": "media_gateway.auth.app:COMPONENT",
    "discovery": "media_gateway.discovery.app:COMPONENT",
    "gateway": "media_gateway.gateway.app:COMPONENT",
    "ingestion": "media_gateway.ingestion.app:COMPONENT",
}
"""Name to ``module:attribute``. The name is also the package's (``media_gateway.<name>``)."""


def load_component(name: str) -> Component[Any]:
    """The declaration of a component.

    Raises
    ------
    InvalidInputError
        There is no component of that name.
    """
    if name not in COMPONENTS:
        raise InvalidInputError(f"there is no component {name!r}; there are: {', '.join(COMPONENTS)}")
    module, _, attribute = COMPONENTS[name].partition(":")
    component: Component[Any] = getattr(importlib.import_module(module), attribute)
    return component


def unread_variables() -> list[str]:
    """A line for each ``MEDIA_GATEWAY_*`` variable of the environment that is no setting, with the nearest one there is."""
    kinds = [CoreSettings]
    kinds += [importlib.import_module(f"media_gateway.{name}.settings").Settings for name in COMPONENTS]
    found = unknown_variables(os.environ, kinds)
    return [
        f"{name} is no setting" + (f"; did you mean {nearest}?" if nearest else "")
        for name, nearest in found.items()
    ]
