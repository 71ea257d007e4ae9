"""`load`: a source becomes a dataset."""

from __future__ import annotations

from etude.runtime.datasets import DatasetWriter
from etude.runtime.sources import chunks, describe, find
from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Store the source piece by piece. Raises `SourceError` for broken data, `StageError` when it changed meanwhile."""
    uri, options = job.spec["uri"], job.spec.get("options") or {}
    schema = describe(uri, options, job.base)
    with DatasetWriter(job.store, schema.columns) as writer:
        for chunk in chunks(uri, options, job.base):
            writer.append(chunk)
        if job.fingerprint not in (None, find(uri).fingerprint(uri, options, job.base, job.store.hash_file)):
            raise StageError(f'"{uri}" changed while it was read', hint="run again")
        return data_result(writer.finish(), rows=writer.rows)
