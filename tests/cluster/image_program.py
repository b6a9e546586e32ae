"""Runs inside an image, in a test: looks at what is there, uses what the build has cut down, prints JSON.

A program of its own, with nothing of this repository's tests: ``python -c <this file> TARGET``.
"""

import asyncio
import importlib
import importlib.util
import io
import json
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOME = Path("/opt/media-gateway")

NEEDS_MORE = ("media_gateway.core.adapters.minilm.build", "media_gateway.core.adapters.minilm.graph")
"""Built with packages that no image has."""

DRIVERS = "media_gateway.core.adapters"
"""What an image without the drivers has no use for."""


def surroundings() -> dict[str, Any]:
    """The user, what can be written to, and how large what we have added is."""
    writable = [path for path in ("/", "/opt/media-gateway", "/etc", "/tmp") if os.access(path, os.W_OK)]
    files = [path for path in HOME.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "python": list(sys.version_info[:2]),
        "writable": writable,
        "size_mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "folders": sorted(path.name for path in (HOME / "components/media_gateway").iterdir() if path.is_dir()),
        "installers": [name for name in ("pip", "setuptools", "uv") if importlib.util.find_spec(name)],
        "sources_without_bytecode": sum(
            1 for path in (HOME / "components").rglob("*.py")
            if not Path(importlib.util.cache_from_source(str(path))).exists()
        ),
    }  # fmt: skip


def import_all(package: str, *, drivers: bool) -> int:
    """Import every module below a package; gives their number."""
    count = 0
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        skipped = (
            module.name.endswith("__main__")
            or module.name.startswith("media_gateway.core.migrations")  # has a use of its own below
            or module.name in NEEDS_MORE
            or (not drivers and module.name.startswith(DRIVERS))
        )
        if not skipped:
            importlib.import_module(module.name)
            count += 1
    return count


async def embed() -> dict[str, Any]:
    """The model that was built into the image makes sense of words."""
    from media_gateway.core.adapters.minilm import MiniLMEmbedder
    from media_gateway.core.settings import CoreSettings, load_settings

    embedder = MiniLMEmbedder(load_settings(CoreSettings).models_path)
    await embedder.ping()
    horse, rider, market = await embedder.embed(["a horse", "a man rides a horse", "the stock market fell"])
    await embedder.close()
    return {"closer": bool(horse @ rider > horse @ market)}


async def drivers() -> dict[str, Any]:
    """Clients of every backend can be made, and the compressions of Kafka work."""
    import cramjam
    from aiobotocore.session import get_session
    from aiokafka import AIOKafkaProducer
    from qdrant_client import AsyncQdrantClient, models

    vectors = AsyncQdrantClient(host="127.0.0.1", grpc_port=1, prefer_grpc=True, check_compatibility=False)
    models.Distance.COSINE.value.lower()
    await vectors.close()
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", compression_type="zstd")
    await producer.stop()
    packed = cramjam.zstd.compress(b"films" * 100)
    assert bytes(cramjam.zstd.decompress(packed)) == b"films" * 100
    client = get_session().create_client(
        "s3", region_name="eu-west-1", aws_access_key_id="id", aws_secret_access_key="key"
    )
    async with client as s3:
        return {
            "presigned": await s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
        }


def parquet() -> dict[str, Any]:
    """A file of several types and a compression, written and read by our reader."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from media_gateway.ingestion.formats.parquet import ParquetReader

    rows = [{"title": "Solaris", "year": 1972, "genres": ["drama"], "rating": 8.0}]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, compression="zstd")
    file.seek(0)
    return {"rows": [parsed.payload for parsed in ParquetReader().read(file)], "expected": rows}


def text_index() -> dict[str, Any]:
    """An index in memory finds a word."""
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("title", stored=True)
    index = tantivy.Index(builder.build())
    writer = index.writer(15_000_000, 1)
    writer.add_document(tantivy.Document(title="Solaris"))
    writer.commit()
    index.reload()
    return {"found": len(index.searcher().search(index.parse_query("solaris", ["title"]), 1).hits)}


def discovery() -> dict[str, Any]:
    """What discovery needs."""
    modules = import_all("media_gateway.discovery", drivers=True) + import_all(
        "media_gateway.core", drivers=True
    )
    return {"modules": modules, **asyncio.run(embed()), **text_index()}


def ingestion() -> dict[str, Any]:
    """What ingestion and its jobs need."""
    modules = import_all("media_gateway.ingestion", drivers=True) + import_all(
        "media_gateway.core", drivers=True
    )
    return {"modules": modules, **asyncio.run(embed()), **asyncio.run(drivers()), **parquet()}


def migrate() -> dict[str, Any]:
    """What the migration Job needs."""
    from media_gateway.core import migrations

    importlib.import_module("media_gateway.core.migrations.__main__")
    return {"head": migrations.head()}


def trainer() -> dict[str, Any]:
    """What is there before training is."""
    import numpy as np

    return {"sum": float(np.ones(3).sum()), "modules": import_all("media_gateway.core", drivers=False)}


def operator() -> dict[str, Any]:
    """What the operator needs; not the official client, which costs 50 MB of memory."""
    modules = import_all("media_gateway_operator", drivers=False)
    return {"modules": modules, "official_client": importlib.util.find_spec("kubernetes") is not None}


USES: dict[str, Callable[[], dict[str, Any]]] = {
    "discovery": discovery, "ingestion": ingestion, "migrate": migrate, "trainer": trainer,
    "operator": operator,
}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(surroundings() | USES[sys.argv[1]]()))
