"""Jobs from others read nothing outside of the folder for them, whatever their manifest names."""

from pathlib import Path

import pytest

from media_gateway.core.errors import InvalidInputError
from media_gateway.ingestion.sources import FileRoot, RawRecord, Secrets, Source, open_source
from tests.support.ingestion_sources import films, job, ndjson, read_all, write_database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder, with two films, and beside it a file that is nobody's business."""
    made = tmp_path / "allowed [1]"
    (made / "sub").mkdir(parents=True)
    (made / "sub" / "films.ndjson").write_bytes(ndjson(films(2)))
    (tmp_path / "outside.ndjson").write_bytes(ndjson(films(5)))
    write_database(tmp_path / "outside.db")
    return made


def confined(path: str | Path, folder: Path | None) -> Source:
    spec = job({"type": "File", "file": {"path": str(path)}}).spec.source
    return open_source(spec, secrets=Secrets(environ={}), file_root=FileRoot(folder))


def database(url: str, folder: Path | None) -> Source:
    spec = job({"type": "Database", "database": {"url": url, "table": "films"}}).spec.source
    return open_source(spec, secrets=Secrets(environ={}), file_root=FileRoot(folder))


@pytest.mark.parametrize("path", ["sub/films.ndjson", "sub", "sub/*.ndjson", "**/f*", "./sub"])
async def test_paths_are_relative_to_the_folder(
    folder: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert len(await read_all(confined(path, folder))) == 2


@pytest.mark.parametrize(
    "path", ["../outside.ndjson", "/etc/passwd", "sub/../../outside.ndjson", "su*/../../outside.ndjson", ".."]
)
def test_paths_that_lead_out_of_the_folder_are_refused(folder: Path, path: str) -> None:
    with pytest.raises(InvalidInputError, match=r"spec\.source\.file\.path: must be inside of"):
        confined(path, folder)
    with pytest.raises(InvalidInputError, match="MEDIA_GATEWAY_INGESTION_FILE_DIR"):
        confined(path, None)


@pytest.mark.parametrize("path", ["*.ndjson", "**/*.ndjson", "l*"])
async def test_a_link_that_a_pattern_finds_is_not_followed_out_of_the_folder(folder: Path, path: str) -> None:
    (folder / "link.ndjson").symlink_to(folder.parent / "outside.ndjson")
    with pytest.raises(InvalidInputError, match="must be inside of"):
        await read_all(confined(path, folder))
    with pytest.raises(InvalidInputError, match="must be inside of"):
        confined("link.ndjson", folder)


async def test_a_file_that_becomes_a_link_after_the_check_is_not_opened(folder: Path) -> None:
    source = confined("sub/films.ndjson", folder)
    (folder / "sub" / "films.ndjson").unlink()
    (folder / "sub" / "films.ndjson").symlink_to(folder.parent / "outside.ndjson")
    with pytest.raises(InvalidInputError, match="must be inside of"):
        await read_all(source)


async def test_an_absolute_path_of_the_folder_is_taken(folder: Path) -> None:
    assert len(await read_all(confined(folder / "sub", folder))) == 2


async def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "link.ndjson").symlink_to(folder / "sub" / "films.ndjson")
    assert len(await read_all(confined("link.ndjson", folder))) == 2


async def test_sqlite_files_of_the_folder_are_read_and_no_others(folder: Path) -> None:
    write_database(folder / "films.db", 3)
    assert len(await read_all(database("sqlite:///films.db", folder))) == 3
    outside = folder.parent / "outside.db"
    for url in (f"sqlite:///{outside}", "sqlite:///../outside.db", f"sqlite:///file:{outside}?uri=true"):
        with pytest.raises(InvalidInputError, match=r"spec\.source\.database\.url: must be inside of"):
            database(url, folder)
    with pytest.raises(InvalidInputError, match="MEDIA_GATEWAY_INGESTION_FILE_DIR"):
        database("sqlite:///films.db", None)
    with pytest.raises(InvalidInputError, match="address of a server"):
        database("duckdb:///films.db", folder)
    changing = database("sqlite:///films.db", folder)
    (folder / "films.db").unlink()
    (folder / "films.db").symlink_to(outside)
    with pytest.raises(InvalidInputError, match="must be inside of"):
        await read_all(changing)


async def test_an_operators_job_reads_relative_to_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    spec = job({"type": "File", "file": {"path": "../outside.ndjson"}}).spec.source
    items = await read_all(open_source(spec, secrets=Secrets(environ={})))
    assert [item.payload["id"] for item in items if isinstance(item, RawRecord)] == [1, 2, 3, 4, 5]
