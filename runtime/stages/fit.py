"""`fit`: an estimator of scikit-learn on a dataset; a linear one becomes the weights of a model."""

from __future__ import annotations

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.estimators.fitting import fitted
from etude.runtime.stages import Job, Result
from etude.runtime.stages.train import put_weights


def execute(job: Job) -> Result:
    """Fit to the rows of input 0, in double precision. Raises `StageError`."""
    dataset, spec = job.dataset(0), job.spec
    target = spec.get("target")
    y = None if target is None else _target(dataset.column(target), is_label=spec.get("classes") is not None)
    if y is not None and spec.get("classes") is not None and len(np.unique(y)) < spec["classes"] and len(y):
        absent = sorted(set(range(spec["classes"])) - set(np.unique(y).tolist()))
        job.warn(f"no row has the class {', '.join(map(str, absent))}: it is never predicted")
    estimator = fitted(spec, flat(dataset.column(spec["input"])), y, job.warn)
    made = {"rows": dataset.rows, "estimator": spec["estimator"]["name"]}
    if "model" in spec:
        from etude.runtime.estimators.weights import model_weights

        return Result({"0": put_weights(job, model_weights(spec["model"], spec, estimator))}, made=made)
    from etude.runtime.estimators.storage import estimator_bytes

    return Result({"estimator": job.store.objects.put(estimator_bytes(estimator))}, made=made)


def flat(values: Array) -> Array:
    """The numbers of each row side by side, [rows, numbers]."""
    return values.reshape(len(values), int(np.prod(values.shape[1:]))).astype(np.float64)


def _target(values: Array, is_label: bool) -> Array:
    if is_label:
        return values.astype(np.int64)
    numbers = values.astype(np.float64)
    return numbers.reshape(len(numbers), -1) if numbers.ndim > 1 else numbers
