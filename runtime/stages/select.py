"""`select`: one of two datasets, models or files, by a measured condition: of `while`, `best` and `when`."""

from __future__ import annotations

from etude.backends.inputs import initial_weights
from etude.runtime.stages import Job, Result, data_result
from etude.runtime.stages.train import put_weights


def execute(job: Job) -> Result:
    """Hand on the first where the condition (input 0) is true, the second where it is not or was never reached."""
    is_first = job.value(0) is True
    if job.spec["of"] == "file":
        chosen_file = job.inputs[1 if is_first else 2]
        assert chosen_file is not None, "the side that a condition chose was made"
        return Result({"0": chosen_file})
    if job.spec["of"] == "data":
        chosen = job.dataset(1 if is_first else 2)
        return data_result(chosen, rows=chosen.rows)
    slots = job.spec["then" if is_first else "else"]
    used = {slot["source"]["input"] for slot in slots if "input" in slot["source"]}
    weights = {index: job.weights(index) for index in sorted(used)}
    return Result({"0": put_weights(job, initial_weights(slots, weights))})
