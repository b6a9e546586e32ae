"""Whether an object is as declared: a structural comparison that knows how the API server fills in and rewrites.

Used by ``engine.apply`` alone. What is not declared is not compared. A difference that is none (a rewriting not known
here) costs one needless apply, never a loop: the engine remembers that it changed nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ownerReferences": ("uid",),
}
"""Lists that the API server merges by these keys; all other lists are replaced as a whole."""

_QUANTITIES: Final = re.compile(r"(^|\.)(limits|requests|capacity|hard)\.[^.]+$|(^|\.)(sizeLimit|divisor)$")

_QUANTITY = re.compile(r"([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([KMGTPE]i|[numkMGTPE]))?")
_SUFFIXES: Final[Mapping[str, Decimal]] = {
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Decimal(1000) ** -power for power, unit in enumerate(("m", "u", "n"), 1)},
}


def differences(declared: Any, live: Any, path: str = "") -> Iterator[str]:
    """Paths of declared fields that are not so in the live object."""
    if declared == live:
        return  # most are, and this is the fast way to know
    if isinstance(declared, Mapping):
        yield from _of_mapping(declared, live, path)
    elif isinstance(declared, list):
        yield from _of_list(declared, live, path)
    elif not _same_scalar(declared, live, path):
        yield path


def _of_mapping(declared: Mapping[str, Any], live: Any, path: str) -> Iterator[str]:
    if not isinstance(live, Mapping):
        yield path
        return
    for key, value in declared.items():
        if key in live and value == live[key]:
            continue
        inner = f"{path}.{key}" if path else key
        if key not in live:
            if not _omitted(value):
                yield inner
        else:
            yield from differences(value, live[key], inner)


def _of_list(declared: list[Any], live: Any, path: str) -> Iterator[str]:
    keys = _keys_of(path, declared)
    if keys is None:
        if not isinstance(live, list) or len(live) != len(declared):
            yield path
            return
        for number, (ours, theirs) in enumerate(zip(declared, live, strict=True)):
            yield from differences(ours, theirs, f"{path}[{number}]")
        return
    by_key = {_key(one, keys): one for one in live} if isinstance(live, list) else {}
    for ours in declared:
        key = _key(ours, keys)
        name = "/".join(str(part) for part in key)
        if key in by_key:
            yield from differences(ours, by_key[key], f"{path}[{name}]")
        else:
            yield f"{path}[{name}]"


def _keys_of(path: str, declared: Sequence[Any]) -> tuple[str, ...] | None:
    name = path.rpartition(".")[2]
    if name == "ports" and declared and isinstance(declared[0], Mapping):
        if "containerPort" in declared[0]:
            return ("containerPort", "protocol")
        # Of a Service; those of a NetworkPolicy are replaced as a whole.
        return ("port", "protocol") if path == "spec.ports" else None
    return _KEYS.get(name)


def _key(one: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(one.get(key, "TCP" if key == "protocol" else None) for key in keys)


def _omitted(value: object) -> bool:
    # The API server leaves out what is empty, zero or false.
    if isinstance(value, Mapping):
        return all(_omitted(inner) for inner in value.values())
    return not value


def _same_scalar(declared: object, live: object, path: str) -> bool:
    if declared is None or live is None or isinstance(declared, bool) or isinstance(live, bool):
        return not declared and not live
    if isinstance(live, (Mapping, list)):
        return False
    if _QUANTITIES.search(path):
        amount = _amount(declared)
        return amount is not None and amount == _amount(live)
    return str(declared) == str(live)


def _amount(value: object) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    try:
        return Decimal(number + (exponent or "")) * _SUFFIXES.get(suffix or "", Decimal(1))
    except ArithmeticError:
        return None
