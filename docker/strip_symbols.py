"""Take symbol tables out of shared libraries: ``strip_symbols.py FOLDER``, in a builder stage.

What `strip` makes of a library whose header was moved before (auditwheel does so) may not load; such a one stays as it was.
"""

import struct
import subprocess
import sys
from pathlib import Path

PT_LOAD = 1


def main(folder: Path) -> None:
    """Strip every library below a folder."""
    for library in sorted(folder.rglob("*.so*")):
        if library.is_file() and not library.is_symlink() and library.read_bytes()[:4] == b"\x7fELF":
            smaller = library.with_name(f".{library.name}.stripped")
            subprocess.run(["strip", "--strip-unneeded", "-o", smaller, library], check=True)  # noqa: S603, S607
            if loads(smaller.read_bytes()):
                smaller.chmod(library.stat().st_mode)
                smaller.replace(library)
            else:
                smaller.unlink()


def loads(content: bytes) -> bool:
    """Whether the dynamic loader takes the segments of a 64-bit ELF file (its own check, in dl-load.c of glibc)."""
    order = "<" if content[5] == 1 else ">"
    (table,) = struct.unpack_from(f"{order}Q", content, 32)
    size, count = struct.unpack_from(f"{order}HH", content, 54)
    for number in range(count):
        kind, _flags, offset, address, _physical, _in_file, _in_memory, alignment = struct.unpack_from(
            f"{order}IIQQQQQQ", content, table + number * size
        )
        if kind == PT_LOAD and alignment > 1 and (address - offset) % alignment:
            return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
