"""`load`: a source becomes a dataset, or one for each of its splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from etude.runtime.datasets import Dataset, DatasetWriter
from etude.runtime.missing_numbers import Missing
from etude.runtime.sources import Chunk, chunks, describe, find
from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Store the source piece by piece. Raises `SourceError` for broken data, `StageError` when it changed meanwhile."""
    uri, options = job.spec["uri"], job.spec.get("options") or {}
    schema = describe(uri, options, job.base)
    if not schema.splits:
        with DatasetWriter(job.store, schema.columns) as writer:
            _append(job, writer, chunks(uri, options, job.base))
            _check_unchanged(job, uri, options)
            return data_result(writer.finish(), rows=writer.rows)
    parts: dict[str, Dataset] = {}
    for split in schema.splits:
        with DatasetWriter(job.store, schema.columns) as writer:
            _append(job, writer, chunks(uri, options, job.base, split))
            parts[split] = writer.finish()
    _check_unchanged(job, uri, options)
    outputs = {split: part.save() for split, part in parts.items()}
    made = {"rows": {split: part.rows for split, part in parts.items()}}
    return Result(outputs, set().union(*(part.objects() for part in parts.values())), made)


def _append(job: Job, writer: DatasetWriter, pieces: Iterable[Chunk]) -> None:
    missing = Missing()
    for piece in missing.passed(pieces):
        writer.append(piece)
    for text in missing.texts("no number (NaN)", writer.rows):
        job.warn(text)


def _check_unchanged(job: Job, uri: str, options: Mapping[str, Any]) -> None:
    if job.fingerprint not in (None, find(uri).fingerprint(uri, options, job.base, job.store.hash_file)):
        raise StageError(f'"{uri}" changed while it was read', hint="run again")
