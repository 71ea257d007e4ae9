"""Compile the step of a training for TPUs that are not there, and say what a chip needs for it.

The batch is shared out over the chips, and the weights where the mesh has such an axis, as in a run: otherwise every
chip holds all of the state. The global batch stays what it is. Run as a module it reads a job from each line of
standard input and answers it with a line of JSON; `etude.runtime.topologies` prepares the environment that libtpu
wants.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import ShapeDtypeStruct
from jax.experimental import topologies
from jax.sharding import Mesh

from etude.backends.batches import batch_rows
from etude.backends.emission.programs import has_streams, reads_clock
from etude.backends.feeding import DEVICE_SHARE
from etude.backends.inputs import TrainInputs, loss_columns
from etude.backends.jax.emit import emit_train
from etude.backends.jax.places import Places, mesh_over
from etude.backends.jax.sharing import donated
from etude.backends.meshes import MeshShape, mesh_shape
from etude.backends.modules import load_source
from etude.backends.numerics import PORTABLE, Numerics
from etude.backends.program.dims import evaluate
from etude.backends.program.serialize import program_from_json

Json = Any
Arguments = dict[str, Any]
COLLECTIVE = re.compile(r"= .*?\b(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")
# What libtpu says when a program does not fit: the bytes that it needs, and those that there are.
EXCEEDED = (
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
    re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"),
)
CHANGED = ("params", "slow", "opt_state", "state")
WEIGHTS = ("params", "slow", "rest", "opt_state")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Step:
    """The emitted step of a train stage, and the shapes of what it takes.

    Columns of `rows` rows are resident where they take no more than a run's share of `memory`, else those of a batch.
    """

    def __init__(
        self, spec: Mapping[str, Json], *, rows: int | None, memory: int, numerics: Numerics = PORTABLE
    ) -> None:
        emitted = emit_train(spec, numerics)
        self.spec, self.module = spec, load_source(emitted.source)
        self.batch = batch_rows(spec["batch"], rows) if rows else spec["batch"]
        resident = self._columns(rows or self.batch)
        is_resident = sum(column.size * column.dtype.itemsize for column in resident.values()) * DEVICE_SHARE <= memory
        self.columns = resident if is_resident else self._columns(self.batch)
        self.paths = dict(reversed(emitted.slots))

    def arguments(self) -> Arguments:
        """What the step takes, by the names of its parameters, in order."""
        spec, weights = self.spec, self._weights()
        given: Arguments = {"params": weights["changing"]}
        given |= {"slow": weights["slow"]} if weights["slow"] else {}
        given |= {"rest": weights["rest"], "opt_state": jax.eval_shape(self.module.init, weights["changing"])}
        if spec.get("state"):
            given["state"] = jax.eval_shape(self.module.initial_state, _scalar("uint32"))
        given |= {"data": self.columns, "index": self._index()}
        if reads_clock(spec):
            given["clock"] = {"@step": _scalar("int32"), "@progress": _scalar("float32")}
        rates = tuple(_scalar("float32") for _ in spec["steps"])
        return given | {"key": _scalar("uint32"), "lr": rates if len(rates) > 1 else rates[0]}

    def placed(self, mesh: Mesh) -> Arguments:
        """The arguments with their places: batch and weights shared out where they can be, the rest on every chip."""
        places = Places(mesh.devices.flat[0], mesh)

        def place(name: str, leaf: ShapeDtypeStruct) -> ShapeDtypeStruct:
            if name in WEIGHTS:
                return _at(leaf, places.weight(leaf.shape))
            return _at(leaf, places.rows(*leaf.shape) if name == "index" else places.whole)

        return {name: jax.tree.map(partial(place, name), tree) for name, tree in self.arguments().items()}

    def is_shared(self, mesh: Mesh) -> bool:
        """Whether every chip along `data` gets an equal part of the batch."""
        return self.batch % int(mesh.shape["data"]) == 0

    def lowered(self, mesh: Mesh) -> Any:
        """The step, traced for a mesh; what it gives lies where what it takes does."""
        arguments, places = self.placed(mesh), Places(mesh.devices.flat[0], mesh)
        changed = [arguments[name] for name in CHANGED if name in arguments]
        out = (*jax.tree.map(lambda leaf: leaf.sharding, changed), places.whole)
        positions = donated(has_slow="slow" in arguments, has_state="state" in arguments)
        body = places.within(self.module.step.__wrapped__)
        return jax.jit(body, donate_argnums=positions, out_shardings=out).lower(*arguments.values())

    def _weights(self) -> dict[str, dict[str, ShapeDtypeStruct]]:
        inputs = TrainInputs(self.spec, [], None, None)  # type: ignore[arg-type]  # only the spec is asked
        kinds = dict.fromkeys(inputs.following_slots(), "slow") | dict.fromkeys(inputs.changing_slots(), "changing")
        found: dict[str, dict[str, ShapeDtypeStruct]] = {"changing": {}, "slow": {}, "rest": {}}
        for slot, path in self.paths.items():
            described = self.spec["slots"][slot]
            found[kinds.get(slot, "rest")][path] = ShapeDtypeStruct(described["shape"], np.dtype(described["dtype"]))
        return found

    def _columns(self, rows: int) -> dict[str, ShapeDtypeStruct]:
        """The columns that the losses read, of so many rows."""
        wanted, found = loss_columns(self.spec), {}
        for player in self.spec["steps"]:
            for name, value in program_from_json(player["loss"]).sub.inputs:
                if name in wanted:
                    shape = (rows, *(evaluate(dim, self.batch) for dim in value.type.shape[1:]))
                    found[name] = ShapeDtypeStruct(shape, np.dtype(value.type.dtype))
        return found

    def _index(self) -> Any:
        index = ShapeDtypeStruct((self.batch,), np.dtype("int32"))
        return dict.fromkeys(self.spec["inputs"]["on"], index) if has_streams(self.spec) else index


def _scalar(dtype: str) -> ShapeDtypeStruct:
    return ShapeDtypeStruct((), np.dtype(dtype))


def _at(leaf: Any, place: Any) -> ShapeDtypeStruct:
    return ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def mesh_of(topology: str, wanted: MeshShape | None = None) -> tuple[Mesh, int]:
    """All devices of a topology such as "v5e:2x2" as a mesh, and how many devices a chip has (two on v4, else one).

    Without a mesh that is wanted they all stand along `data`.
    """
    _, _, arrangement = topology.partition(":")
    # libtpu takes hosts of four chips for granted, which a single chip is not
    alone = {"chips_per_host_bounds": (1, 1, 1)} if set(arrangement.split("x")) == {"1"} else {}
    devices: list[Any] = topologies.get_topology_desc(platform="tpu", topology_name=topology, **alone).devices
    chips = {tuple(device.coords) for device in devices}
    model = 1 if wanted is None else wanted.model
    shape = MeshShape(data=len(devices) // model, model=model)
    return mesh_over(devices, shape), len(devices) // len(chips)


def compile_step(step: Step, topology: str, wanted: MeshShape | None = None) -> dict[str, Json]:
    """What a chip needs for a step: bytes, operations, and the collectives; or by how much it does not fit."""
    mesh, cores = mesh_of(topology, wanted)
    about = {"chips": mesh.size // cores, "shared": step.is_shared(mesh), "batch": step.batch}
    about |= {} if wanted is None else {"model": wanted.model}
    try:
        compiled = step.lowered(mesh).compile()
    except jax.errors.JaxRuntimeError as error:
        exceeded = next((found for pattern in EXCEEDED if (found := pattern.search(str(error)))), None)
        if exceeded is None:
            raise
        used, of = (float(exceeded[i]) * UNITS[exceeded[i + 1]] for i in (1, 3))
        return {**about, "bytes": round(used * cores), "limit": round(of * cores), "fits": False}
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    size = held + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    sums = Counter(match[1] for match in COLLECTIVE.finditer(compiled.as_text()))
    costs = compiled.cost_analysis()
    return {
        **about,
        "bytes": size * cores,
        "flops": round(costs.get("flops", 0.0) * cores),
        "moved": round(costs.get("bytes accessed", 0.0) * cores),
        "collectives": dict(sorted(sums.items())),
        "fits": True,
    }


def main() -> None:
    """Answer every job on standard input."""
    jax.config.update("jax_default_matmul_precision", "float32")
    for line in sys.stdin:
        job = json.loads(line)
        try:
            numerics = Numerics(**job["numerics"])
            step = Step(job["spec"], rows=job["rows"], memory=job["memory"], numerics=numerics)
            answer = compile_step(step, job["topology"], mesh_shape(job.get("mesh")))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:500]}"}
        print(json.dumps({**answer, "job": job["job"]}), flush=True)


if __name__ == "__main__":
    main()
