"""librdkafka's mock cluster: brokers with real TCP listeners on loopback, inside this process, with faults on demand.

Its limits: memory only, four partitions a topic, no admin requests, one aiokafka member a group.
"""

import ctypes
from pathlib import Path

import confluent_kafka


class MockKafka:
    """A running mock cluster.

    Attributes
    ----------
    url : str
        ``kafka://127.0.0.1:…,…``.
    brokers : dict[int, int]
        Port of each broker id.
    """

    def __init__(self, brokers: int = 1) -> None:
        # The cluster lives as long as the client that asked for it.
        self._owner = confluent_kafka.Producer(
            {"bootstrap.servers": "unused:1", "test.mock.num.brokers": brokers, "log_level": 0}
        )
        found = self._owner.list_topics(timeout=10).brokers
        self.brokers = {number: int(broker.port) for number, broker in sorted(found.items())}
        self.url = "kafka://" + ",".join(f"127.0.0.1:{port}" for port in self.brokers.values())
        self._library = ctypes.CDLL(_library_path())
        self._library.rd_kafka_handle_mock_cluster.restype = ctypes.c_void_p
        # The Python object is its header, then the client's handle.
        handle = ctypes.c_void_p.from_address(id(self._owner) + object.__basicsize__)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_handle_mock_cluster(handle))
        # Brokers wait three seconds for further members before a group's first assignment.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def down(self) -> None:
        """Close all connections and refuse new ones."""
        for number in self.brokers:
            self._library.rd_kafka_mock_broker_set_down(self._cluster, number)

    def up(self) -> None:
        """Undo `down`; topics and offsets are as they were."""
        for number in self.brokers:
            self._library.rd_kafka_mock_broker_set_up(self._cluster, number)

    def slow(self, round_trip_ms: int) -> None:
        """Answer every request that much later."""
        for number in self.brokers:
            self._library.rd_kafka_mock_broker_set_rtt(self._cluster, number, round_trip_ms)

    def put_raw(self, topic: str, body: bytes) -> None:
        """Store a message that did not come from us."""
        self._owner.produce(topic, body, key=b"raw")
        assert self._owner.flush(10) == 0

    def close(self) -> None:
        """Stop the brokers."""
        del self._owner


def _library_path() -> str:
    package = Path(confluent_kafka.__file__).parent
    patterns = (
        (package.parent / "confluent_kafka.libs", "librdkafka*.so*"),
        (package / ".dylibs", "librdkafka*.dylib"),
    )
    for folder, pattern in patterns:
        for path in folder.glob(pattern):
            return str(path)
    raise FileNotFoundError("the confluent-kafka wheel bundles no librdkafka here")
