"""Emitted source as a module: written beside the run, executed once per distinct text."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

_LOADED: dict[str, ModuleType] = {}


def load_source(source: str, path: Path | None = None) -> ModuleType:
    """Execute `source` as a module; equal sources share one module, and with it whatever was compiled for it.

    It is written to `path` first, so that tracebacks and people find its lines.
    """
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    name = f"etude_step_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if name not in _LOADED:
        _LOADED[name] = _execute(name, source, path)
    return _LOADED[name]


def _execute(name: str, source: str, path: Path | None) -> ModuleType:
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path) if path else None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path or f"<{name}>"), "exec"), module.__dict__)
    return module
