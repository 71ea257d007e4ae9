"""The data sets that come with scikit-learn: `sklearn:digits`, `iris`, `wine`, `breast_cancer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.sources import Chunk, SourceError, locator, nearest

OPTIONS: Mapping[str, str] = {}


def _table(rows: int, column: ColumnSchema, names: tuple[str, ...]) -> SourceSchema:
    label = ColumnSchema("label", "label", "int32", (), len(names), names)
    return SourceSchema((column, label), rows)


def _features(count: int) -> ColumnSchema:
    return ColumnSchema("features", "tensor", "float32", (count,))


# Written down so that checking a recipe imports nothing; a test compares it with the data.
SCHEMAS: Mapping[str, SourceSchema] = {
    "digits": _table(1797, ColumnSchema("image", "tensor", "float32", (8, 8, 1)), tuple("0123456789")),
    "iris": _table(150, _features(4), ("setosa", "versicolor", "virginica")),
    "wine": _table(178, _features(13), ("class_0", "class_1", "class_2")),
    "breast_cancer": _table(569, _features(30), ("malignant", "benign")),
}


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """The built-in schema. Raises `SourceError` for a name that scikit-learn does not ship."""
    name = locator(uri)
    if name not in SCHEMAS:
        hint = nearest(name, SCHEMAS) or f"there are: {', '.join(SCHEMAS)}"
        raise SourceError(f'scikit-learn ships no data set called "{name}"', uri=uri, hint=hint)
    return SCHEMAS[name]


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """Name and package version: the data comes with the package."""
    from importlib import metadata

    try:
        version = metadata.version("scikit-learn")
    except metadata.PackageNotFoundError:
        raise SourceError(
            "scikit-learn is not installed", uri=uri, hint='pip install "etude-lang[data]" brings it'
        ) from None
    return f"sklearn:{locator(uri)}:{version}"


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read the data set: digits as images in 0..1, the others as rows of features."""
    import numpy as np
    from sklearn import datasets

    name = locator(uri)
    bunch = getattr(datasets, f"load_{name}")()
    label = np.asarray(bunch.target, dtype=np.int32)
    if name == "digits":
        yield {"image": (bunch.images[..., np.newaxis] / 16).astype(np.float32), "label": label}
    else:
        yield {"features": np.asarray(bunch.data, dtype=np.float32), "label": label}
