"""Compute on one device and on a mesh of four that the processor plays, and print what came out as one JSON object.

In a process of its own: how many devices there are is decided when XLA starts. Called with files of recipes, of which
every distinct training does a few steps.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from conftest import blobs, train_spec

from etude.backends.base import Array, Backend, load
from etude.backends.dispatch import Work
from etude.backends.inputs import TrainInputs
from etude.backends.jax.ahead_of_time import WEIGHTS, Step
from etude.backends.jax.backend import JaxBackend
from etude.backends.jax.emit import emit_train
from etude.backends.jax.places import Places, mesh_over
from etude.backends.jax.sharing import shared_init, shared_step
from etude.backends.jax.train import JaxChunks, JaxSession
from etude.backends.meshes import MeshShape
from etude.backends.modules import load_source
from etude.backends.numerics import Numerics
from etude.backends.timetable import Clock
from etude.runtime.compiling import compile_file

Json = Any
FOUR = MeshShape(data=2, model=2)
MEMORY, MOST_ROWS, STEPS = 16 << 30, 8, 2
BESIDE = Numerics(), Numerics(mesh=FOUR)
FIXTURE = getattr(train_spec, "__wrapped__", None) or train_spec.__pytest_wrapped__.obj
make_spec = FIXTURE()


def distinct_specs(recipe: Path) -> list[Json]:
    """The spec of each training of a recipe with a small batch, of those with equal programs the first."""
    workflow = compile_file(recipe).workflow
    assert workflow is not None
    found: dict[Any, Json] = {}
    for stage in workflow.stages.values():
        if stage.kind == "train":
            spec = {**stage.spec, "batch": min(stage.spec["batch"], MOST_ROWS)}
            found.setdefault(tuple(step["loss"]["digest"] for step in spec["steps"]), spec)
    return list(found.values())


def drawn(leaf: Any, generator: np.random.RandomState) -> Array:
    """Numbers for a column or a state: labels below two are below any number of classes."""
    is_float = np.dtype(leaf.dtype).kind == "f"
    values = generator.uniform(0, 1, leaf.shape) if is_float else generator.randint(0, 2, leaf.shape)
    return np.asarray(values, leaf.dtype)


def given_to(step: Step, places: Places) -> dict[str, Any]:
    """What a step takes, by name: the same numbers wherever they lie."""
    generator = np.random.RandomState(7)
    given = {n: jax.tree.map(lambda leaf: drawn(leaf, generator), tree) for n, tree in step.arguments().items()}
    at = {
        path: generator.normal(0, 0.1, step.spec["slots"][slot]["shape"]) for slot, path in sorted(step.paths.items())
    }
    dtypes = {path: step.spec["slots"][slot]["dtype"] for slot, path in step.paths.items()}
    for name in {"params", "slow", "rest"} & given.keys():
        given[name] = places.weights({path: np.asarray(at[path], dtypes[path]) for path in given[name]})
    init = jax.jit(step.module.init) if places.mesh is None else shared_init(step.module, places)
    given["opt_state"] = init(given["params"])
    positions = {name: np.arange(len(leaf), dtype=np.int32) for name, leaf in _named(given["index"]).items()}
    placed = {name: jax.device_put(rows, places.rows(len(rows))) for name, rows in positions.items()}
    given["index"] = placed if isinstance(given["index"], dict) else placed[""]
    given["data"] = jax.device_put(given["data"], places.whole)
    return given | {"lr": jax.tree.map(lambda leaf: np.float32(0.01), given["lr"])}


def _named(index: Any) -> Mapping[str, Array]:
    return index if isinstance(index, dict) else {"": index}


def terms_of(step: Step, places: Places) -> list[dict[str, float]]:
    """The terms of a few steps."""
    given = given_to(step, places)
    names = [name for name in ("params", "slow", "opt_state", "state") if name in given]
    changed = [
        places.of_weights(given[name]) if name in WEIGHTS else jax.tree.map(lambda leaf: places.whole, given[name])
        for name in names
    ]
    run = step.module.step if places.mesh is None else shared_step(step.module, step.spec, places, changed)
    found = []
    for number in range(STEPS):
        *made, terms = run(*(given | {"key": np.uint32(7 + number)}).values())
        given |= dict(zip(names, made, strict=True))
        found.append({name: float(value) for name, value in terms.items()})
    return found


def examples(recipes: list[Path]) -> Json:
    """The terms of each distinct training, on one device and on the mesh."""
    one = Places(jax.devices()[0])
    several = Places.of(one.device, FOUR)
    found = {}
    for recipe in recipes:
        for number, spec in enumerate(distinct_specs(recipe)):
            step = Step(spec, rows=None, memory=MEMORY)
            found[f"{recipe.stem} {number}"] = [terms_of(step, places) for places in (one, several)]
    return found


def trained(numerics: Numerics, **settings: Any) -> list[float]:
    """The losses of a whole training of the small perceptron, and what it was last validated with."""
    backend = load("jax", device="cpu", threads=1, numerics=numerics)
    spec = make_spec(dropout=0.2, noise=0.1, clip=1.0, budget={"steps": 8}, **settings)
    held_out = blobs(90, 2) if spec["valid"] else None
    given = (spec, *blobs(200, 1), held_out, {}, Path(tempfile.mkdtemp()))
    result = backend.train(*given, lambda event: None, lambda: False, record="step")
    return [row["loss"] for row in result.history] + [result.history[-1].get("valid.accuracy", 0.0)]


def session(shape: MeshShape | None, **settings: Any) -> JaxSession:
    backend = JaxBackend("cpu", 1, Numerics(mesh=shape))
    spec = make_spec(dropout=0.2, noise=0.1, **settings)
    emitted = emit_train(spec)
    inputs = TrainInputs.of(spec, blobs(200, 1)[0], blobs(90, 2), {})
    return JaxSession(load_source(emitted.source), emitted.slots, inputs, backend.places)


def flops(shape: MeshShape, **settings: Any) -> float:
    """What one device computes in a step."""
    step = Step(make_spec(**settings), rows=None, memory=MEMORY)
    lowered = step.lowered(mesh_over(jax.devices()[: shape.size], shape))
    return float(lowered.compile().cost_analysis()["flops"])


def layout() -> Json:
    """The shapes of what a device holds of each array, and how often the step was compiled."""
    at, clocks = session(FOUR), [Clock(number, 0.0) for number in range(4)]
    rows = np.arange(128)
    work = Work(rows, [1, 2, 3, 4], [[0.01]] * 4, clocks)
    start = at.state()
    for number in range(4):
        part = work.part(number)
        at.step(part.rows, part.keys[0], part.rates[0], part.clocks[0])
    compiled = at._step._cache_size()
    single, held = at.state(), {name: [*leaf.addressable_shards[0].data.shape] for name, leaf in at.params.items()}
    moments = [[*leaf.addressable_shards[0].data.shape] for leaf in jax.tree.leaves(at.opt_state)]
    at.restore(start)
    JaxChunks(at).run(work)
    same = all(np.array_equal(single[name], value) for name, value in at.state().items())
    return {"held": held, "moments": moments, "compiled": compiled, "chunks": same}


def measured(backend: Backend) -> list[float]:
    """The outputs of a row program."""
    spec = {"program": make_spec()["valid"]["scores"], **{k: make_spec()[k] for k in ("slots", "seed", "identity")}}
    return [float(value) for value in backend.rows(spec, *blobs(90, 2), {})["accuracy"]]


def main() -> None:
    found: dict[str, Json] = {"examples": examples([Path(name) for name in sys.argv[1:]])}
    ways: dict[str, Json] = {
        "plain": {},
        "parts": {"accumulate": 2, "valid": None},
        "odd": {"batch": 31, "valid": None},
    }
    for name, settings in ways.items():
        found[name] = [trained(numerics, **settings) for numerics in BESIDE]
    found["native"] = [trained(Numerics(random="native", mesh=mesh), valid=None) for mesh in (None, FOUR)]
    os.environ["ETUDE_RESIDENT_BYTES"] = "0"
    found["fed"] = [found["plain"][0], trained(BESIDE[1])]
    del os.environ["ETUDE_RESIDENT_BYTES"]
    found["rows"] = [measured(load("jax", device="cpu", threads=1, numerics=numerics)) for numerics in BESIDE]
    found["layout"] = layout()
    shapes = MeshShape(), MeshShape(data=4)
    found["flops"] = [flops(shape, **settings) for settings in ({}, {"accumulate": 2}) for shape in shapes]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
