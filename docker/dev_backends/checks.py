"""Whether a server on this host answers clients, said in its own protocol: for exec probes."""

import socket
import struct

from dev_backends.kafka import PORT as KAFKA_PORT
from dev_backends.postgres import DATABASE, ROLE, SETTINGS
from dev_backends.redis import PORT as REDIS_PORT
from dev_backends.start import password

TIMEOUT_S = 2.0

API_VERSIONS = 18
"""Kafka's request for what a broker can do: the first one any client sends, without authentication."""


def postgres() -> None:
    """A connection gets to the point where the server asks for the password."""
    parameters = f"user\0{ROLE}\0database\0{DATABASE}\0\0".encode()
    start = struct.pack("!ii", len(parameters) + 8, 3 << 16) + parameters
    answer = _exchange(int(SETTINGS["port"]), start, 1)
    if answer != b"R":
        raise OSError("the server does not take connections yet")


def redis() -> None:
    """A PING with the password is answered, which it is not while the server loads its data."""
    secret = password("MEDIA_GATEWAY_REDIS_PASSWORD").encode()
    request = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*1\r\n$4\r\nPING\r\n" % (len(secret), secret)
    answer = _exchange(int(REDIS_PORT), request, len(b"+OK\r\n+PONG\r\n"))
    if answer != b"+OK\r\n+PONG\r\n":
        raise OSError(f"the server answers {answer.decode(errors='replace').strip()!r}")


def kafka() -> None:
    """The broker says which requests it knows."""
    header = struct.pack("!hhih", API_VERSIONS, 0, 7, -1)
    answer = _exchange(int(KAFKA_PORT), struct.pack("!i", len(header)) + header, 10)
    _size, correlation, error = struct.unpack("!iih", answer)
    if correlation != 7 or error != 0:
        raise OSError(f"the broker answers error {error}")


def _exchange(port: int, request: bytes, size: int) -> bytes:
    """First bytes of the answer to a request."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        while len(answer) < size:
            part = connection.recv(size - len(answer))
            if not part:
                raise OSError("the server has closed the connection")
            answer += part
        # A connection that is closed with something unread is a reset, and a line in the server's log at each probe.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    return answer
