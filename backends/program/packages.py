"""What modules a package has. `pkgutil` tells it too, but imports `inspect`: a twentieth of a short check."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def module_names(folders: Iterable[str]) -> list[str]:
    """The names of the modules and packages in the folders of a package (its `__path__`), sorted."""
    found = {path.stem for folder in folders for path in Path(folder).iterdir() if is_module(path)}
    return sorted(found - {"__init__"})


def is_module(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()
