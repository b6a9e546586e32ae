"""Apache Kafka as a child process: one node, KRaft, loopback, memory small, data in a temporary folder.

Its jars come from Maven Central (``make test-backends`` fetches them); Java 17 or newer runs them.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.servers import unused_port

JARS = Path(__file__).parents[2] / ".backends" / "kafka"

_CLUSTER_ID = "bWVkaWEtZ2F0ZXdheS10ZQ"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
controller.quorum.election.timeout.ms=200
controller.quorum.fetch.timeout.ms=400
"""
# The last four shorten how long a killed broker's successor waits for its predecessor's session to end.


class ApacheKafka:
    """A broker that can be killed and started again over the same data at the same port."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mgw-kafka-"))
        self.port = unused_port()
        self._process: subprocess.Popen[bytes] | None = None
        settings = self._folder / "server.properties"
        settings.write_text(
            _PROPERTIES.format(port=self.port, controller_port=unused_port(), folder=self._folder)
        )
        self._settings = str(settings)
        subprocess.run(
            [*_java(), "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", self._settings],
            check=True,
            capture_output=True,
        )

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return once it accepts connections."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_java("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC"), "kafka.Kafka", self._settings],
                stdout=log,
                stderr=log,
                env={**os.environ, "LC_ALL": "C"},
            )
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise RuntimeError((self._folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """End it without any goodbye."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _java(*options: str) -> list[str]:
    return ["java", *options, "-cp", f"{JARS}/*"]
