"""Values of the secrets that a manifest names, from the environment or from mounted files; never from the manifest."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from media_gateway.core.domain.specs import SecretRef
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import PREFIX

VALUE_LIMIT_BYTES = 1_048_576
"""Kubernetes' limit of a secret."""


class Secrets:
    """Finds secrets.

    Parameters
    ----------
    folder
        Laid out as Kubernetes mounts secrets: ``<name>/<key>``. A trailing newline of a file is no part of the value.
    environ
        Variables ``MEDIA_GATEWAY_SECRET_<NAME>_<KEY>``, capitals, everything else an underscore; they win.
    """

    def __init__(self, folder: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environ = os.environ if environ is None else environ

    def value(self, ref: SecretRef) -> str:
        """The secret's value.

        Raises
        ------
        NotConfiguredError
            It is nowhere; the message says where it was looked for.
        """
        variable = f"{PREFIX}SECRET_" + re.sub(r"[^A-Z0-9]", "_", f"{ref.name}_{ref.key}".upper())
        value = self._environ.get(variable)
        if value is None and self._folder is not None:
            value = _read(self._folder / ref.name / ref.key)
        if not value:
            place = f" or the file {self._folder / ref.name / ref.key}" if self._folder else ""
            raise NotConfiguredError(f"the secret {ref.name}/{ref.key} is missing: set {variable}{place}")
        return value


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(VALUE_LIMIT_BYTES).decode("utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise NotConfiguredError(f"the secret file {path} can't be read: {type(error).__name__}") from error
