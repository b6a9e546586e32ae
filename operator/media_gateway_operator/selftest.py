"""What ``helm test`` runs: a dry-run IngestionJob of the demo catalogue, from the API server to its last condition.

Run as ``python -m media_gateway_operator.selftest`` in the operator's image. Exits with 0 when the job is Complete, else with
1 and the reason in words. It reads and writes IngestionJobs only, and deletes its own in any case.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Final

from media_gateway.core.errors import MediaGatewayError, UnavailableError
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.config import find_access
from media_gateway_operator.kube.kinds import INGESTION_JOB, Object, Ref

POLL_S: Final = 1.0

LIMIT: Final = 50
"""Films to read: enough for several batches, done in a second."""

KEPT_S: Final = 300
"""The operator deletes the job after this time, should this process not live to do it."""


class SelfTestError(Exception):
    """The job did not complete; the message says why."""


def manifest(ref: Ref, gateway: str, timeout_s: int) -> Object:
    """The job that is tried."""
    return {
        "apiVersion": INGESTION_JOB.api_version,
        "kind": INGESTION_JOB.kind,
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": {
            "gatewayRef": {"name": gateway},
            "source": {"type": "Demo", "demo": {"limit": LIMIT}},
            "dryRun": True,
            "backoffLimit": 2,
            "activeDeadlineSeconds": timeout_s,
            "ttlSecondsAfterFinished": KEPT_S,
        },
    }


async def run(client: KubeClient, ref: Ref, gateway: str, timeout_s: int) -> None:
    """Create the job, wait for its end, delete it.

    Raises
    ------
    SelfTestError
        It failed, was deleted by somebody, or has not ended in time.
    MediaGatewayError
        The API server refused.
    """
    await client.create(manifest(ref, gateway, timeout_s))
    _say(f"created {ref} (dry run, {LIMIT} films)")
    try:
        await _wait(client, ref, time.monotonic() + timeout_s)
    finally:
        await client.delete(ref)


async def _wait(client: KubeClient, ref: Ref, deadline: float) -> None:
    told = ""
    while True:
        try:
            job = await client.get(ref)
        except UnavailableError:
            # The API server may be restarted while a test runs; the deadline holds all the same.
            job = {}
        if job is None:
            raise SelfTestError(f"{ref} was deleted before it had ended")
        seen = describe(job)
        if seen != told:
            told = seen
            _say(seen)
        if _is_true(job, "Complete"):
            return
        if _is_true(job, "Failed"):
            raise SelfTestError(f"{ref} failed: {seen}")
        if time.monotonic() > deadline:
            raise SelfTestError(
                f"{ref} has not ended in time: {seen or 'no status at all; is the operator running?'}"
            )
        await asyncio.sleep(POLL_S)


def describe(job: Object) -> str:
    """The job's conditions that say something, in one line."""
    return "; ".join(
        f"{one['type']}={one['status']} ({one['reason']})"
        + (f" {one['message']}" if one.get("message") else "")
        for one in _conditions(job)
        if one["status"] == "True" or one["type"] == "Accepted"
    )


def _conditions(job: Object) -> list[Object]:
    conditions: list[Object] = job.get("status", {}).get("conditions", [])
    return conditions


def _is_true(job: Object, condition: str) -> bool:
    return any(one["type"] == condition and one["status"] == "True" for one in _conditions(job))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _main(arguments: argparse.Namespace) -> int:
    ref = Ref(INGESTION_JOB, arguments.namespace, f"selftest-{secrets.token_hex(4)}")
    began = time.monotonic()
    client = KubeClient(find_access())
    try:
        await run(client, ref, arguments.gateway, arguments.timeout)
    except (SelfTestError, MediaGatewayError) as error:
        _say(f"error: {error}")
        return 1
    finally:
        await client.close()
    _say(f"complete after {time.monotonic() - began:.1f} s")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the test; 0 if it passed."""
    parser = argparse.ArgumentParser(prog="python -m media_gateway_operator.selftest", description=__doc__)
    parser.add_argument("--gateway", required=True, help="name of the MediaGateway")
    parser.add_argument("--namespace", required=True, help="its namespace")
    parser.add_argument("--timeout", type=int, default=240, help="seconds until the job must have ended")
    return asyncio.run(_main(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
