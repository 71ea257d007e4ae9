"""`tokenizer`: a tokenizer fitted to a column of texts, as JSON."""

from __future__ import annotations

import json

from etude.runtime.stages import Job, Result, StageError
from etude.runtime.tokenizers import fitted, read_texts


def execute(job: Job) -> Result:
    """Fit the tokenizer; a byte-level one needs no texts. Raises `StageError` where there are none."""
    spec = job.spec
    if not job.inputs:
        text = fitted(spec["algorithm"], spec["vocab"], lambda: ())
    else:
        dataset = job.dataset(0)
        if not dataset.rows:
            raise StageError(f"there are no texts to fit {spec['algorithm']} to")
        column = dataset.reader(spec["column"])
        text = fitted(spec["algorithm"], spec["vocab"], lambda: read_texts(column), lowercase=spec["lowercase"])
    hash = job.store.objects.put(text.encode())
    return Result({"tokenizer": hash}, made={"tokens": len(json.loads(text)["model"]["vocab"])})
