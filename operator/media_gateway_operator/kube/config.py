"""How to reach the API server: a pod's service account, or a kubeconfig file.

Read once at start; the bearer token is read again while the process runs, because the kubelet replaces it. Tools that a
kubeconfig may name to fetch credentials are not run.
"""

import base64
import binascii
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import yaml

from media_gateway.core.errors import NotConfiguredError

TOKEN_KEPT_S: Final = 60.0
"""How long a token read from a file is used before the file is read again."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Access:
    """Where the API server is, and who we are to it.

    Parameters
    ----------
    server
        ``https://host:port``.
    tls
        None for a plain server (a proxy on loopback).
    token_file
        Read again every minute; instead of ``token``.
    """

    def __init__(
        self,
        server: str,
        *,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        token_file: Path | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        self.tls = tls
        self._token = token
        self._token_file = token_file
        self._read_at = float("-inf")

    def headers(self) -> dict[str, str]:
        """The authorization header, if there is a token."""
        if self._token_file is not None and time.monotonic() - self._read_at > TOKEN_KEPT_S:
            self.renew()
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def renew(self) -> None:
        """Read the token file now; an unreadable one leaves the token as it was."""
        if self._token_file is None:
            return
        try:
            self._token = self._token_file.read_text().strip()
        except OSError:
            # Replacing the file is not atomic everywhere; without any token the server says 401, which is reported.
            return
        self._read_at = time.monotonic()


def find_access(environment: Mapping[str, str] = os.environ) -> Access:
    """``KUBECONFIG`` if it is set, else the pod's service account.

    Raises
    ------
    NotConfiguredError
        Neither is there, or the file can't be used; says which part of it.
    """
    path = environment.get("KUBECONFIG")
    if path:
        return from_kubeconfig(Path(path))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (SERVICE_ACCOUNT / "token").exists():
        raise NotConfiguredError(
            "no API server: set KUBECONFIG to a file, or run in a pod that mounts its service account's token"
        )
    host = f"[{host}]" if ":" in host else host
    tls = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))
    return Access(f"https://{host}:{port}", tls=tls, token_file=SERVICE_ACCOUNT / "token")


def from_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig file.

    Raises
    ------
    NotConfiguredError
        The file can't be read or lacks something; says what.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NotConfiguredError(f"KUBECONFIG: {path} can't be read ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise NotConfiguredError(f"KUBECONFIG: {path} is not a kubeconfig file")
    context = _named(document, "contexts", document.get("current-context"), "context")
    cluster = _named(document, "clusters", context.get("cluster"), "cluster")
    user = _named(document, "users", context.get("user"), "user")
    if "exec" in user or "auth-provider" in user:
        raise NotConfiguredError(
            f"KUBECONFIG: user {context.get('user')!r} fetches credentials with a command, which is not supported; "
            "use a token or a client certificate"
        )
    server = str(cluster.get("server", ""))
    if not server.startswith(("https://", "http://")):
        raise NotConfiguredError(f"KUBECONFIG: cluster {context.get('cluster')!r} has no https:// server")
    token_file = user.get("tokenFile")
    return Access(
        server,
        tls=_tls(cluster, user, path.parent) if server.startswith("https://") else None,
        token=user.get("token"),
        token_file=path.parent / token_file if token_file else None,
    )


def _named(document: dict[str, Any], section: str, name: object, inner: str) -> dict[str, Any]:
    for entry in document.get(section) or ():
        if entry.get("name") == name and isinstance(entry.get(inner), dict):
            found: dict[str, Any] = entry[inner]
            return found
    raise NotConfiguredError(f"KUBECONFIG: {section} has no entry named {name!r}")


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    try:
        authority = _content(cluster, "certificate-authority", folder)
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = (
            _content(user, "client-certificate", folder),
            _content(user, "client-key", folder),
        )
        if certificate and key:
            # The ssl module takes a client certificate from files only; they are gone when this function returns.
            with ExitStack() as stack:
                files = [stack.enter_context(tempfile.NamedTemporaryFile()) for _ in range(2)]
                for file, content in zip(files, (certificate, key), strict=True):
                    file.write(content)
                    file.flush()
                context.load_cert_chain(files[0].name, files[1].name)
    except (OSError, UnicodeDecodeError, binascii.Error, ssl.SSLError) as error:
        raise NotConfiguredError(f"KUBECONFIG: a certificate or key can't be used ({error})") from error
    return context


def _content(section: dict[str, Any], name: str, folder: Path) -> bytes | None:
    if data := section.get(f"{name}-data"):
        return base64.b64decode(data)
    if path := section.get(name):
        return (folder / str(path)).read_bytes()
    return None
