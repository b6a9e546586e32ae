"""Files out of pinned wheels: taken once, whole or not at all, and only with the right hash."""

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from media_gateway.core.errors import UnavailableError
from media_gateway.core.wheels import PinnedWheel, fetch_wheel_member, fetch_wheel_members

MEMBERS = {"films_data/a.txt": b"first", "films_data/b.txt": b"second"}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PinnedWheel:
    """A wheel in a folder that stands for the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "films_data-1.0-py3-none-any.whl"
    information = "films_data-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, body in MEMBERS.items():
            archive.writestr(name, body)
        archive.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: films-data\nVersion: 1.0\n")
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return PinnedWheel("films-data", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest())


def test_a_member_of_the_right_wheel_is_put_at_its_place(index: PinnedWheel, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "a.txt"
    assert fetch_wheel_member(index.name, index.version, index.sha256, "films_data/a.txt", target) == target
    assert target.read_bytes() == b"first"
    assert [path.name for path in target.parent.iterdir() if not path.name.startswith(".")] == ["a.txt"]


def test_another_hash_is_refused_and_leaves_nothing(index: PinnedWheel, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "a.txt"
    with pytest.raises(UnavailableError, match=r"films-data 1\.0"):
        fetch_wheel_member(index.name, index.version, "0" * 64, "films_data/a.txt", target)
    assert not target.exists()


@pytest.mark.usefixtures("index")
def test_a_wheel_that_can_not_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no-such-films"):
        fetch_wheel_member("no-such-films", "1.0", "0" * 64, "a", tmp_path / "a")


def copying(calls: list[str]):
    def download(wheel: PinnedWheel, folder: Path) -> None:
        calls.append(wheel.name)
        for name, body in MEMBERS.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(body)

    return download


WHEEL = PinnedWheel("films-data", "1.0", "0" * 64)


def test_what_is_there_is_not_fetched_again_and_what_is_missing_is(tmp_path: Path) -> None:
    calls: list[str] = []
    targets = {name: tmp_path / Path(name).name for name in MEMBERS}
    for _ in range(2):
        fetch_wheel_members(WHEEL, targets, download=copying(calls))
    assert len(calls) == 1
    targets["films_data/b.txt"].unlink()
    fetch_wheel_members(WHEEL, targets, download=copying(calls))
    assert len(calls) == 2
    assert {name: target.read_bytes() for name, target in targets.items()} == MEMBERS


def test_a_member_that_is_not_in_the_wheel_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"holds no file films_data/c\.txt"):
        fetch_wheel_members(WHEEL, {"films_data/c.txt": tmp_path / "c"}, download=copying([]))


def test_many_at_once_download_once(tmp_path: Path) -> None:
    calls: list[str] = []
    target = tmp_path / "a.txt"
    download = copying(calls)
    threads = [
        threading.Thread(
            target=fetch_wheel_members,
            args=(WHEEL, {"films_data/a.txt": target}),
            kwargs={"download": download},
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert target.read_bytes() == b"first"
    assert calls == ["films-data"]


def test_a_download_that_breaks_off_leaves_no_half_file(tmp_path: Path) -> None:
    def breaking(wheel: PinnedWheel, folder: Path) -> None:
        (folder / "half.whl").write_bytes(b"PK")
        raise UnavailableError("the line was cut")

    with pytest.raises(UnavailableError, match="cut"):
        fetch_wheel_members(WHEEL, {"films_data/a.txt": tmp_path / "a.txt"}, download=breaking)
    assert [path.name for path in tmp_path.iterdir()] == [".a.txt.lock"]
