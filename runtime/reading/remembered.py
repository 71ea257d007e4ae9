"""Answers that are dear to find and follow from unchanged files: kept in the user's cache folder, one file each."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from etude.compiler.schema import ColumnSchema, SourceSchema

FORMAT = 1
# A file changed within this time of being looked at may change again without its times showing it.
RACY_NANOSECONDS = 2_000_000_000


def stamp(files: Iterable[tuple[str, os.stat_result]]) -> tuple[str, bool]:
    """A hash of names, sizes, times and inodes, and whether the last change is long enough ago to rely on it."""
    digest, newest = hashlib.sha256(), 0
    for name, stat in files:
        digest.update(f"{name}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}\n".encode())
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
    return digest.hexdigest(), time.time_ns() - newest > RACY_NANOSECONDS


def remembered(question: Iterable[Any], is_settled: bool, compute: Callable[[], Any]) -> Any:
    """The answer as JSON: found among those kept, else computed, and kept when the files are settled."""
    path = (
        _folder() / f"{hashlib.sha256(json.dumps([FORMAT, *question], sort_keys=True).encode()).hexdigest()[:32]}.json"
    )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        answer = compute()
    if is_settled:
        draft = path.with_suffix(f".{os.getpid()}")  # no other process may see half an answer
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(answer), encoding="utf-8")
            draft.replace(path)
    return answer


def remembered_schema(question: Iterable[Any], is_settled: bool, compute: Callable[[], SourceSchema]) -> SourceSchema:
    """The same for what a source holds."""
    return _from_json(remembered(["schema", *question], is_settled, lambda: _to_json(compute())))


def file_question(path: Path, options: Mapping[str, Any]) -> tuple[list[Any], bool]:
    """What an answer about one file depends on, and whether the file is settled."""
    known, is_settled = stamp([(str(path.resolve()), path.stat())])
    return [known, dict(options)], is_settled


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "etude" / "data"


def _to_json(schema: SourceSchema) -> Any:
    columns = [
        [c.name, c.kind, c.dtype, list(c.shape), c.classes, c.class_names and list(c.class_names), c.is_target]
        for c in schema.columns
    ]
    return {"columns": columns, "rows": schema.rows, "splits": list(schema.splits), "role": schema.role}


def _from_json(data: Any) -> SourceSchema:
    columns = tuple(
        ColumnSchema(name, kind, dtype, tuple(shape), classes, None if names is None else tuple(names), is_target)
        for name, kind, dtype, shape, classes, names, is_target in data["columns"]
    )
    return SourceSchema(columns, data["rows"], tuple(data["splits"]), data["role"])
