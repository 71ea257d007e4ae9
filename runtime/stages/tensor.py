"""`tensor`: a program over measured tensors and numbers, run once, on the host with numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from etude.compiler.limits import MAX_LISTED
from etude.runtime.arrays import Array
from etude.runtime.stages import Job, Result, StageError
from etude.runtime.stages.train import put_weights


def execute(job: Job) -> Result:
    """Compute a tensor, or one number; without a program, put a number into a file. Raises `StageError`."""
    from etude.backends.numpy.backend import compute

    operands = _operands(job)
    if None in [None if each is None else 0 for each in operands]:
        return _missing(job)
    if "program" not in job.spec:
        return Result({"tensor": put_weights(job, [np.asarray(operands[0], job.spec["dtype"])])})
    try:
        found = compute(job.spec["program"], [each for each in operands if each is not None])
    except np.linalg.LinAlgError as error:
        raise StageError(f"the tensors do not allow it: {error}") from error
    if job.spec.get("listed"):
        return Result({"value": job.store.objects.put_json(_listed(found))})
    if found.ndim:
        return Result({"tensor": put_weights(job, [found])})
    return Result({"value": job.store.objects.put_json(_number(found))})


def _operands(job: Job) -> list[Array | None]:
    """Tensors of files, and numbers; None for a number that does not exist."""
    files: dict[int, list[Array]] = {}
    found: list[Array | None] = []
    for index, position in job.spec["operands"]:
        if position is None:
            value = job.value(index)
            found.append(None if value is None else np.asarray(value))
            continue
        if index not in files:
            files[index] = job.weights(index)
        found.append(files[index][position])
    return found


def _missing(job: Job) -> Result:
    """A number that is computed from one that does not exist does not exist; a tensor must."""
    program = job.spec.get("program")
    if program is not None and not dict(program["subs"][-1]["outputs"])[""]:
        return Result({"value": job.store.objects.put_json(None)})
    hint = "a mean over no rows, or one that is not finite, has no value"
    raise StageError("a measured number that this needs has no value", hint=hint)


def _listed(values: Array) -> Any:
    """A tensor as JSON. Raises `StageError` for one that is too large for a report."""
    if values.size > MAX_LISTED:
        raise StageError(f"a tensor of {values.size:,} numbers is too large for a table or a heat map")
    return [_listed(each) for each in values] if values.ndim else _number(values)


def _number(value: Array) -> Any:
    """A single number as JSON; None where it is not finite.

    >>> _number(np.float32(0.5)), _number(np.float32("nan")), _number(np.bool_(True))
    (0.5, None, True)
    """
    number = value.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number
