"""An API server of a test's own: etcd, kube-apiserver and the controllers that collect garbage, on loopback.

No kubelet, no Job or Deployment controller: `fake_workloads` stands in for them, so that a test decides which Job is done.
The programs are those of the machine cluster; no root and no network namespace is needed.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import yaml

from tests.cluster.machine.pki import Authority, token_keys
from tests.cluster.machine.programs import Programs
from tests.support.kube_api import CRD, KubeApi
from tests.support.processes import REPOSITORY
from tests.support.servers import unused_port
from tests.support.waiting import eventually

CONTROLLERS: Final = (
    "garbage-collector-controller,namespace-controller,serviceaccount-controller,"
    "root-ca-certificate-publisher-controller"
)


class ControlPlane:
    """The three processes; a context manager that starts them and leaves nothing behind.

    Parameters
    ----------
    programs
        Where the binaries are.

    Attributes
    ----------
    kubeconfig : Path
        An administrator's.
    """

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="mgw-control-"))
        self._etcd_port, self._peer_port, self.port = (unused_port() for _ in range(3))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = self._folder / "kubeconfig"
        self._commands = self._prepared()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all three; `ready` waits for them."""
        for name in self._commands:
            self._start(name)

    async def ready(self) -> None:
        """Wait until the API server says that it is."""
        async with KubeApi(self.kubeconfig) as api:

            async def asked() -> bool:
                for name, process in list(self._processes.items()):
                    if process.poll() is not None:
                        if name == "kube-controller-manager":
                            # It waits ten seconds for the API server and gives up; a busy machine needs longer.
                            self._start(name)
                            continue
                        raise RuntimeError(f"{name} ended: {self.log(name)[-2000:]}")
                return await api.ready()

            await eventually(asked, timeout_s=90, interval_s=0.2)

    def kill_api_server(self) -> None:
        """``kill -9`` of the API server; what it has stored stays."""
        self._end("kube-apiserver", signal.SIGKILL)

    def start_api_server(self) -> None:
        """Start it again."""
        self._start("kube-apiserver")

    async def restart_api_server(self) -> float:
        """Kill the API server, start it again, wait until it is ready; gives for how many seconds it was away."""
        began = time.monotonic()
        self.kill_api_server()
        self.start_api_server()
        await self.ready()
        return time.monotonic() - began

    def stop(self) -> None:
        """End all three and remove what they wrote."""
        for name in reversed(list(self._processes)):
            self._end(name, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self, name: str) -> str:
        """What a program printed."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def _start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._commands[name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
                env={**os.environ, "GOGC": "100"},
            )  # fmt: skip

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._processes[name]
        with suppress(ProcessLookupError):
            process.send_signal(number)
        process.wait()

    def _prepared(self) -> dict[str, Sequence[str]]:
        authority, tokens = Authority(self._folder), token_keys(self._folder)
        names = ["localhost", "kubernetes", "kubernetes.default.svc", "127.0.0.1", "10.97.0.1"]
        server = authority.identity("kube-apiserver", addresses=names)
        admin = authority.identity("admin", groups=["system:masters"])
        self._write_kubeconfig(authority.certificate, admin.certificate, admin.key)
        etcd = f"http://127.0.0.1:{self._etcd_port}"
        return {
            "etcd": [
                str(self._programs["etcd"]), "--data-dir", str(self._folder / "etcd"), "--log-level=warn",
                f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{self._peer_port}", "--unsafe-no-fsync",
            ],
            "kube-apiserver": [
                str(self._programs["kube-apiserver"]), f"--etcd-servers={etcd}", "--bind-address=127.0.0.1",
                f"--secure-port={self.port}", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
                "--service-cluster-ip-range=10.97.0.0/16", f"--cert-dir={self._folder / 'apiserver'}",
                f"--client-ca-file={authority.certificate}", f"--tls-cert-file={server.certificate}",
                f"--tls-private-key-file={server.key}", f"--service-account-key-file={tokens.certificate}",
                f"--service-account-signing-key-file={tokens.key}",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--authorization-mode=RBAC",
            ],
            "kube-controller-manager": [
                str(self._programs["kube-controller-manager"]), f"--kubeconfig={self.kubeconfig}",
                "--leader-elect=false", f"--service-account-private-key-file={tokens.key}",
                f"--root-ca-file={authority.certificate}", "--use-service-account-credentials=true",
                "--secure-port=0", f"--controllers={CONTROLLERS}", "--kube-api-qps=200", "--kube-api-burst=400",
            ],
        }  # fmt: skip

    def _write_kubeconfig(self, authority: Path, certificate: Path, key: Path) -> None:
        def inline(path: Path) -> str:
            return base64.b64encode(path.read_bytes()).decode()

        cluster = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority-data": inline(authority),
        }
        user = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "own", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "admin"}}],
            "current-context": "own",
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(document))


async def install_crds(api: KubeApi) -> None:
    """Apply the CRDs of this tree and wait until they are served.

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    files = sorted((REPOSITORY / "crds").glob("*.yaml"))
    if not files:
        raise FileNotFoundError("crds/ has no manifests")
    manifests = [one for file in files for one in yaml.safe_load_all(file.read_text()) if one]
    await asyncio.gather(*(api.apply(one) for one in manifests))
    for one in manifests:

        async def established(name: str = one["metadata"]["name"]) -> bool:
            found = await api.get(CRD, None, name) or {}
            conditions = found.get("status", {}).get("conditions") or ()
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

        await eventually(established, timeout_s=30)
