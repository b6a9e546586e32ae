"""One node of Apache Kafka in KRaft mode, from its jars and a Java runtime."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

from dev_backends.start import ENVIRONMENT, StartError, data_folder

JARS = Path(os.environ.get("MEDIA_GATEWAY_DEV_KAFKA_JARS", "/opt/dev-backends/kafka"))
PORT = os.environ.get("MEDIA_GATEWAY_KAFKA_PORT", "9092")
CONTROLLER_PORT = os.environ.get("MEDIA_GATEWAY_KAFKA_CONTROLLER_PORT", "9093")

CLUSTER_ID = "bWVkaWEtZ2F0ZXdheS1kZQ"
"""Any 16 bytes; one for all, since no two such nodes ever meet."""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.hours=24
log.retention.bytes=268435456
log.segment.bytes=67108864
"""


def serve() -> NoReturn:
    """Become the broker; the Java runtime's own SIGTERM is a clean shutdown."""
    java = shutil.which("java")
    if java is None or not JARS.is_dir():
        raise StartError("this image has no Kafka; use dev-backends-kafka")
    advertised = os.environ.get("MEDIA_GATEWAY_KAFKA_ADVERTISED") or f"{socket.gethostname()}:{PORT}"
    if advertised.count(":") != 1 or not advertised.rpartition(":")[2].isdigit():
        raise StartError(f"MEDIA_GATEWAY_KAFKA_ADVERTISED: must be host:port, got {advertised!r}")
    folder = data_folder("kafka")
    properties = Path(tempfile.mkdtemp(prefix="kafka-")) / "server.properties"
    properties.write_text(
        PROPERTIES.format(port=PORT, controller_port=CONTROLLER_PORT, advertised=advertised, folder=folder)
    )
    # Least time to the first answer and least memory; throughput is no aim here.
    runtime = [
        java,
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        f"-Djava.io.tmpdir={properties.parent}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{JARS}/*",
    ]
    if not (folder / "meta.properties").exists():  # what formatting writes last
        tool = (
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            "-t",
            CLUSTER_ID,
            "-c",
            str(properties),
        )
        _format(folder, [*runtime, "-Xmx128m", *tool])
    heap = os.environ.get("MEDIA_GATEWAY_KAFKA_HEAP", "256m")
    os.execve(java, [*runtime, "-Xms64m", f"-Xmx{heap}", "kafka.Kafka", str(properties)], ENVIRONMENT)  # noqa: S606


def _format(folder: Path, command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        command, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    if done.returncode != 0:
        raise OSError(f"{folder} can't be formatted: {(done.stderr or done.stdout).strip()[-500:]}")
