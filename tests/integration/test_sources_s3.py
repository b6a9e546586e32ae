"""Objects of an S3-compatible store (moto's server, over the network)."""

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from media_gateway.core.errors import InvalidInputError, NotFoundError, UnavailableError
from media_gateway.ingestion.sources import BadItem, RawRecord
from tests.support.ingestion_sources import films, ndjson, read_all, source_of

SECRETS = {"MEDIA_GATEWAY_SECRET_STORE_ID": "made-up", "MEDIA_GATEWAY_SECRET_STORE_KEY": "made-up-too"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def store(endpoint: str, bucket: str, objects: dict[str, bytes]) -> None:
    import aiobotocore.session

    arguments = {"aws_access_key_id": "made-up", "aws_secret_access_key": "made-up-too"}
    session = aiobotocore.session.get_session()
    async with session.create_client(
        "s3", region_name="us-east-1", endpoint_url=endpoint, **arguments
    ) as client:
        await client.create_bucket(Bucket=bucket)
        for key, body in objects.items():
            await client.put_object(Bucket=bucket, Key=key, Body=body)


@pytest.fixture
async def bucket(endpoint: str) -> str:
    objects = {
        "in/a.ndjson": ndjson(films(5)),
        "in/b.ndjson.gz": gzip.compress(ndjson(films(5, 6)) + b"{cut"),
        "in/c.ndjson": ndjson(films(5, 11)),
        "in/notes.txt": b"no records",
        "other/x.ndjson": ndjson(films(3)),
    }
    await store(endpoint, "films-test", objects)
    return "films-test"


def spec(endpoint: str, bucket: str, **more: object) -> dict[str, Any]:
    keys = {
        "accessKeyRef": {"name": "store", "key": "id"},
        "secretKeyRef": {"name": "store", "key": "key"},
    }
    place = {"bucket": bucket, "prefix": "in/", "endpointUrl": endpoint, "pathStyle": True}
    return {"type": "S3", "s3": {**place, **keys, **more}}


async def test_objects_are_read_in_order_and_continued_in_their_middle(endpoint: str, bucket: str) -> None:
    source = source_of(spec(endpoint, bucket), secrets=SECRETS)
    items = await read_all(source)
    assert [item.payload["id"] for item in items if isinstance(item, RawRecord)] == list(range(1, 16))
    bad = [item for item in items if isinstance(item, BadItem)]
    assert [item.line for item in bad] == [6, 1]
    assert source.units_read == await source.estimate()
    for index in (0, 4, 7, len(items) - 2):
        assert await read_all(source, items[index].checkpoint) == items[index + 1 :]


async def test_an_object_that_was_replaced_is_read_anew(endpoint: str, bucket: str) -> None:
    source = source_of(spec(endpoint, bucket, prefix="in/c"), secrets=SECRETS)
    checkpoint = (await read_all(source))[2].checkpoint
    await store(endpoint, bucket, {"in/c.ndjson": ndjson(films(4, 50))})
    items = await read_all(source, checkpoint)
    assert [item.payload["id"] for item in items if isinstance(item, RawRecord)] == [50, 51, 52, 53]


async def test_a_wrong_bucket_prefix_or_address_is_told(endpoint: str, bucket: str) -> None:
    with pytest.raises(NotFoundError, match="no-such-bucket"):
        await read_all(source_of(spec(endpoint, "no-such-bucket"), secrets=SECRETS))
    with pytest.raises(InvalidInputError, match="prefix"):
        await read_all(source_of(spec(endpoint, bucket, prefix="nothing/"), secrets=SECRETS))
    await store(endpoint, bucket, {"big/a.ndjson": ndjson(films(100))})
    with pytest.raises(InvalidInputError, match="maxObjectBytes"):
        await read_all(source_of(spec(endpoint, bucket, maxObjectBytes=1024, prefix="big/"), secrets=SECRETS))


async def test_a_store_that_is_away_is_retryable(free_port: int) -> None:
    with pytest.raises(UnavailableError):
        await read_all(source_of(spec(f"http://127.0.0.1:{free_port}", "films-test"), secrets=SECRETS))
