"""`train`: weights that a loss has shaped, and the history of how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etude.compiler.naming import renamed
from etude.runtime.stages import Job, LazyColumns, Result, StageError

if TYPE_CHECKING:
    from etude.backends.base import Array, Checkpoint, ColumnRows, Columns, Held, TrainResult
    from etude.backends.snapshots import Keeper, Snapshot


def execute(job: Job) -> Result:
    """Train on the chosen backend; one weights artifact per updated model. Raises `TrainingError`, `StageError`."""
    from etude.backends.program.microbatches import parts_of
    from etude.runtime.checkpoints.keeper import opened_keeper

    more = job.spec.get("more", ())
    spec = decided(job)
    with opened_keeper(job) as keeper:
        trained = run_training(job, spec, keeper, keeps_end=bool(more))
    objects = job.store.objects
    outputs = {
        str(port): put_weights(job, [trained.weights[slot] for slot in slots])
        for port, slots in enumerate(job.spec["results"])
    }
    outputs["history"] = objects.put_json(renamed(trained.history, spec.get("columns") or {}))
    if "checkpoints" in job.spec:
        outputs |= put_checkpoints(job, trained.checkpoints)
    if trained.end is not None:
        outputs |= put_end(job, trained.end, more)
    rows, backend = epoch_rows(job), job.backend().describe()
    speed = {"training_seconds": round(trained.seconds, 4), "batch": min(job.spec["batch"], rows)}
    made = {"rows": rows, "steps": trained.steps, "kept": trained.kept, **speed, "backend": backend}
    if "accumulate" in spec:
        made["parts"] = parts_of(made["batch"], spec["accumulate"])
    if trained.at_once > 1:
        made["steps_at_once"] = trained.at_once
    if trained.rewrites:
        made["rewrites"] = dict(trained.rewrites)
    if trained.continued:
        made["continued"] = trained.continued
    return Result(outputs, made=made, source=objects.put((job.folder / "step.py").read_bytes()))


def run_training(job: Job, spec: Mapping[str, Any], keeper: Keeper | None, *, keeps_end: bool = False) -> TrainResult:
    """Train as a spec says, on the inputs of a job. Raises `TrainingError`, `StageError`."""
    from etude.backends.base import Extras, TrainingError
    from etude.backends.ordering import WeightsError
    from etude.backends.takeover import OtherRunError
    from etude.runtime.checkpoints.ends import read_end
    from etude.runtime.probes import probes

    inputs = spec["inputs"]
    columns, ids = held_rows(job, inputs["on"], "train on")
    valid = None if inputs.get("valid") is None else held_rows(job, inputs["valid"], "validate on")
    weights = {k: job.weights(k) for k in weights_inputs(spec)}
    given = (spec, columns, ids, valid, weights)
    start = read_end(job, spec["resume"]) if "resume" in spec else None
    extras = Extras(start=start, watch=probes(job, spec), keeps_end=keeps_end, without=job.settings.without)
    try:
        return job.backend().train(*given, job.folder, job.emit, job.stop, keeper=keeper, extras=extras)
    except TrainingError as error:
        error.args = ("; ".join([str(error), *odd_columns(spec, columns)]),)
        raise
    except (WeightsError, OtherRunError) as error:
        raise StageError(str(error)) from error


def odd_columns(spec: Mapping[str, Any], columns: Columns) -> list[str]:
    """Which of the columns that the losses read hold numbers that are not finite, and in which rows."""
    from etude.runtime.missing_numbers import not_finite

    read = [name for step in spec["steps"] for name, *_ in step["loss"]["subs"][-1]["inputs"]]
    names = [name for name in dict.fromkeys(read) if name in columns]
    return not_finite(columns, names, {name: len(columns[name]) for name in names})


def decided(job: Job) -> Mapping[str, Any]:
    """The spec of a job with what a run decides: in how many parts batches are taken."""
    from etude.runtime.accumulating import with_parts
    from etude.runtime.estimates import memory_bytes

    if job.spec.get("accumulate") != "auto":
        return job.spec
    mesh = job.settings.numerics.mesh
    memory = (job.backend().memory() or 0) * (mesh.data if mesh else 1) or memory_bytes()
    return with_parts(job.spec, epoch_rows(job), memory, job.settings.precision)


def put_checkpoints(job: Job, checkpoints: Sequence[Checkpoint]) -> dict[str, str]:
    """A weights artifact for each updated model at each checkpoint, and the table of their steps and epochs."""
    outputs = {
        f"{number}.{port}": put_weights(job, [checkpoint.weights[slot] for slot in slots])
        for number, checkpoint in enumerate(checkpoints)
        for port, slots in enumerate(job.spec["results"])
    }
    table = {"step": [each.step for each in checkpoints], "epoch": [each.epoch for each in checkpoints]}
    return outputs | {"checkpoints": job.store.objects.put_json(table)}


def put_end(job: Job, end: Snapshot, ports: Sequence[str]) -> dict[str, str]:
    """What is asked for of the end of a training: its state, and all that another training needs to go on."""
    from etude.runtime.checkpoints.ends import end_bytes

    outputs = {}
    if "state" in ports:
        places = range(len(job.spec["state"]["names"]))
        outputs["state"] = put_weights(job, [end.state[f"state.{place}"] for place in places])
    if "run" in ports:
        outputs["run"] = job.store.objects.put(end_bytes(end, job.settings.backend))
    return outputs


def put_weights(job: Job, weights: list[Array]) -> str:
    """Store weights under their ordinals; equal weights are equal bytes."""
    from etude.backends.weights import weights_bytes

    return job.store.objects.put(weights_bytes(weights))


def held_rows(job: Job, on: int | Mapping[str, int], purpose: str) -> Held:
    """The rows of an input; of several, named by stream, with columns called "<stream>.<column>"."""
    streams = {"": on} if isinstance(on, int) else on
    data = {name: job.dataset(index) for name, index in streams.items()}
    for name, dataset in data.items():
        if not dataset.rows:
            raise StageError(f"there are no rows to {purpose}{f' in {name}' if name else ''}")
    if isinstance(on, int):
        return LazyColumns(data[""]), data[""].ids
    columns = {f"{name}.": LazyColumns(dataset) for name, dataset in data.items()}
    return PrefixedColumns(columns), {name: dataset.ids for name, dataset in data.items()}


class PrefixedColumns(Mapping[str, "ColumnRows"]):
    """The columns of several datasets under names that begin with their dataset's."""

    def __init__(self, columns: Mapping[str, Columns]) -> None:
        self._columns = {prefix + name: (found, name) for prefix, found in columns.items() for name in found}

    def __getitem__(self, name: str) -> ColumnRows:
        found, column = self._columns[name]
        return found[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def weights_inputs(spec: Mapping[str, Any]) -> list[int]:
    """The inputs that slots start from."""
    return sorted({slot["source"]["input"] for slot in spec["slots"] if "input" in slot["source"]})


def epoch_rows(job: Job) -> int:
    """The rows of an epoch: those of the only data set, or of the first."""
    on = job.spec["inputs"]["on"]
    return job.dataset(on if isinstance(on, int) else next(iter(on.values()))).rows
