"""``dev-backends``: the command of the images."""

import argparse
import signal
import sys

from dev_backends import checks, kafka, postgres, redis
from dev_backends.start import StartError

SERVERS = {"postgres": postgres.serve, "redis": redis.serve, "kafka": kafka.serve}
CHECKS = {"postgres": checks.postgres, "redis": checks.redis, "kafka": checks.kafka}

EXIT_RETRYABLE = 1
EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h: a restart changes nothing."""

VARIABLES = """\
variables:
  MEDIA_GATEWAY_POSTGRES_PASSWORD   password of the role media_gateway; set at every start, so a new one takes effect
  MEDIA_GATEWAY_REDIS_PASSWORD      password of Redis
  MEDIA_GATEWAY_KAFKA_ADVERTISED    host:port that clients reach the broker at (default: this host's name:9092)
  MEDIA_GATEWAY_DEV_DATA            folder of the data (default: /data)
  <name>_FILE                       instead of a password: a file that holds it
"""


def main() -> int:
    """Run a server until SIGTERM, or see whether one answers."""
    parser = argparse.ArgumentParser(
        prog="dev-backends",
        description="Servers for development, never for production: one node, no replica, no backup.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in SERVERS:
        commands.add_parser(name, help=f"run {name}; its data is kept in a folder of the same name")
    check = commands.add_parser(
        "check", help="exit with 0 if the server on this host answers, for exec probes"
    )
    check.add_argument("server", choices=sorted(CHECKS))
    arguments = parser.parse_args()
    try:
        if arguments.command == "check":
            CHECKS[arguments.server]()
            return 0
        # A container's first process ignores what it has no handler for. What is half done is done again at the next start.
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
        return SERVERS[arguments.command]()
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIGURATION
    except OSError as error:
        sys.stderr.write(f"{arguments.command}: {error}\n")
        return EXIT_RETRYABLE


if __name__ == "__main__":
    sys.exit(main())
