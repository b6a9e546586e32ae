"""Images in the node's containerd: there is no registry, every image is loaded from an archive."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.cluster.machine.commands import ClusterError, run
from tests.cluster.machine.node import PAUSE
from tests.cluster.machine.places import Places

ELF_ARM64 = b"\xb7"


def load_image(places: Places, archive: Path) -> None:
    """Load an archive (of Docker's or the OCI's form) unless the same file was loaded before.

    Raises
    ------
    ClusterError
        If there is no such file, or no running node to load it into.
    """
    if not archive.is_file():
        raise ClusterError(f"{archive} is no file; build it with `scripts/images build --archive-dir DIR`")
    if not places.containerd_socket.exists():
        raise ClusterError(f"no node runs in {places.work}: start it with `make cluster-up`")
    known = places.state / "loaded-images.json"
    loaded: dict[str, list[int]] = json.loads(known.read_text()) if known.exists() else {}
    stat = archive.stat()
    mark = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    if loaded.get(str(archive.absolute())) == mark:
        return
    ctr(places, "images", "import", archive, timeout_s=600)
    known.write_text(json.dumps({**loaded, str(archive.absolute()): mark}))


def tag_image(places: Places, image: str, name: str) -> None:
    """Give an image another name beside its own."""
    ctr(places, "images", "tag", "--force", image, name)


def ctr(places: Places, *arguments: str | Path, timeout_s: float = 60.0) -> str:
    """Speak to the node's containerd, in the namespace that Kubernetes uses."""
    return run(
        "ctr", "--address", places.containerd_socket, "--namespace", "k8s.io", *arguments, timeout_s=timeout_s
    )


def pause_archive(program: Path, target: Path) -> Path:
    """Write the image that every pod begins with: one static program on nothing."""
    layer = _tar({"pause": (program.read_bytes(), 0o755)})
    digest = hashlib.sha256(layer).hexdigest()
    architecture = "arm64" if program.read_bytes()[18:19] == ELF_ARM64 else "amd64"
    config = json.dumps({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }).encode()  # fmt: skip
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]).encode()
    files = {name: (config, 0o644), "layer.tar": (layer, 0o644), "manifest.json": (manifest, 0o644)}
    target.write_bytes(_tar(files))
    return target


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
