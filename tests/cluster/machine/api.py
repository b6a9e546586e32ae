"""The few requests that starting the cluster takes, without starting kubectl for each."""

import http.client
import json
import ssl
from typing import Any

from tests.cluster.machine.commands import ClusterError
from tests.cluster.machine.network import Network
from tests.cluster.machine.pki import Identity

PORT = 6443
MANAGER = "media-gateway-machine"


class Api:
    """The API server as seen by the cluster's administrator.

    Parameters
    ----------
    network
        Where it is.
    authority
        Path of the certificate authority.
    admin
        Who asks.
    """

    def __init__(self, network: Network, authority: str, admin: Identity) -> None:
        self._address = network.node_address
        self._tls = ssl.create_default_context(cafile=authority)
        self._tls.load_cert_chain(admin.certificate, admin.key)

    def get(self, path: str) -> Any:
        """Read something; None unless it is there."""
        status, body = self._ask("GET", path)
        if status != 200:
            return None
        try:
            return json.loads(body)
        except ValueError:
            return body.decode()

    def apply(self, path: str, manifest: dict[str, Any]) -> None:
        """Create or change an object."""
        where = f"{path}/{manifest['metadata']['name']}?fieldManager={MANAGER}&force=true"
        status, body = self._ask("PATCH", where, json.dumps(manifest).encode())
        if status not in {200, 201}:
            raise ClusterError(f"{where} was refused ({status}): {body.decode(errors='replace')}")

    def _ask(self, verb: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._address, PORT, timeout=10, context=self._tls)
        try:
            connection.request(verb, path, body, {"Content-Type": "application/apply-patch+yaml"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
