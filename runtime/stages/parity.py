"""`parity`: one stage from the same inputs on two backends. No stage of a recipe; see `etude.runtime.parity`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.backends.base import InputWeights, Rows
from etude.backends.inputs import initial_weights
from etude.backends.parity import compare_rows, compare_train, with_weights
from etude.runtime.checkpoints.ends import read_end
from etude.runtime.stages import Job, LazyColumns, Result, loaded_backend
from etude.runtime.stages.edit import weights_row
from etude.runtime.stages.generate import generated_identities
from etude.runtime.stages.train import held_rows, weights_inputs

Json = Any


def execute(job: Job) -> Result:
    """Compare the backends of the spec on its stage; the output is what `etude.backends.parity` finds."""
    spec = job.spec["stage"]
    comparison = _compare_train(job, spec) if job.spec["kind"] == "train" else _compare_rows(job, spec)
    return Result({"comparison": job.store.objects.put_json(comparison)})


def _compare_train(job: Job, spec: Mapping[str, Json]) -> Json:
    inputs = spec["inputs"]
    columns, ids = held_rows(job, inputs["on"], "train on")
    spec, weights = _from_its_start(job, spec)
    return compare_train(
        [_backend(job, name) for name in job.spec["backends"]],
        spec,
        columns,
        ids,
        None if inputs.get("valid") is None else held_rows(job, inputs["valid"], "validate on"),
        weights,
        steps=job.spec["steps"],
        precision=job.settings.precision,
    )


def _from_its_start(job: Job, spec: Mapping[str, Json]) -> tuple[Mapping[str, Json], InputWeights]:
    """The stage and its weights; where it goes on from another training, those of its end. What an optimizer carries
    has another form on each backend, and begins anew on both."""
    weights = _weights(job, spec)
    if "resume" not in spec:
        return spec, weights
    end, initial = read_end(job, spec["resume"]).state, initial_weights(spec["slots"], weights)
    found = [end.get(f"weights.{slot}", weight) for slot, weight in enumerate(initial)]
    return with_weights(spec, found)


def _compare_rows(job: Job, spec: Mapping[str, Json]) -> Json:
    match job.spec["kind"]:
        case "generate":
            columns, ids = _drawn_rows(spec)
        case "edit":
            columns, ids = weights_row(job, spec)
        case _:
            columns, ids = _given_rows(job)
    backends = [_backend(job, name) for name in job.spec["backends"]]
    return compare_rows(backends, spec, columns, ids, _weights(job, spec), precision=job.settings.precision)


def _given_rows(job: Job) -> Rows:
    data = job.dataset(0)
    return LazyColumns(data), data.ids


def _drawn_rows(spec: Mapping[str, Json]) -> Rows:
    """The rows of a stage that draws them from nothing."""
    return {}, generated_identities(spec["identity"], spec["seed"], spec["count"])


def _backend(job: Job, name: str) -> Any:
    return loaded_backend(name, job.settings.device, job.settings.threads, job.settings.numerics)


def _weights(job: Job, spec: Mapping[str, Json]) -> InputWeights:
    return {index: job.weights(index) for index in weights_inputs(spec)}
