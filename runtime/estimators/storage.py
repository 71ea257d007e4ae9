"""Estimators that are no models as files: skops with a list of allowed types, equal estimators as equal bytes."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from etude.runtime.stages import StageError

Json = Any
ALLOWED = ("sklearn.tree._tree.Tree",)  # beside what skops itself trusts
EPOCH = (1980, 1, 1, 0, 0, 0)


def estimator_bytes(estimator: Any) -> bytes:
    """A fitted estimator as the bytes of a file."""
    return _settled(_skops().dumps(estimator))


def read_estimator(data: bytes) -> Any:
    """The estimator of a file. Raises `StageError` for one that holds types which are not allowed."""
    skops = _skops()
    unknown = sorted(set(skops.get_untrusted_types(data=data)) - set(ALLOWED))
    if unknown:
        raise StageError(f"the file of an estimator holds types that are not allowed: {', '.join(unknown)}")
    return skops.loads(data, trusted=list(ALLOWED))


def _skops() -> Any:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        hint = 'pip install "etude-lang[data]"'
        raise StageError(f'storing an estimator needs "{error.name}", which is not installed', hint=hint) from error
    return skops.io


def _settled(data: bytes) -> bytes:
    """The archive without times and addresses: numbers of objects count up in the order in which they appear."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files.pop("schema.json"))
    numbers = itertools.count(1)
    names: dict[int, int] = {}
    for node in _nodes(schema):
        if "__id__" in node:
            node["__id__"] = names.setdefault(node["__id__"], next(numbers))
    placed: dict[str, str] = {}
    for node in _nodes(schema):
        old = node.get("file")
        if isinstance(old, str) and old in files:
            new = placed.setdefault(old, f"{len(placed)}.{old.rpartition('.')[2]}")
            node["file"] = new
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for old, new in placed.items():
            archive.writestr(zipfile.ZipInfo(new, EPOCH), files[old], zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("schema.json", EPOCH), json.dumps(schema), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _nodes(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)
