"""`latency`: how long a row program takes for a batch that is on the device already."""

from __future__ import annotations

import statistics
import time

import numpy as np

from etude.runtime.rows import row_backend, row_source
from etude.runtime.stages import Job, LazyColumns, Result, StageError

WARMUP, CALLS = 3, 30


def execute(job: Job) -> Result:
    """Time calls one after the other; their median counts. Raises `StageError` on no rows."""
    dataset = job.dataset(0)
    if not dataset.rows:
        raise StageError("there are no rows to time the model on")
    batch = dataset.select(np.arange(job.spec["batch"]) % dataset.rows)
    weights = {slot["source"]["input"] for slot in job.spec["slots"] if "input" in slot["source"]}
    backend = row_backend(job)
    call = backend.prepared(job.spec, LazyColumns(batch), batch.ids, {index: job.weights(index) for index in weights})
    seconds = []
    for _ in job.until_stopped(iter(range(WARMUP + CALLS))):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    low, middle, high = statistics.quantiles(seconds[WARMUP:], n=4)
    made = {"rows": batch.rows, "quartiles": [low, high], "backend": backend.describe()}
    return Result({"value": job.store.objects.put_json(middle)}, made=made, source=row_source(job))
