"""What `etude plan` says of the hardware that a target names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from etude.backends.meshes import mesh_shape
from etude.compiler.render.ansi import Paint
from etude.runtime.targets.meshes import meshes_of

if TYPE_CHECKING:
    from etude.runtime.hardware import OnHardware
    from etude.runtime.planning import PlannedStage
    from etude.runtime.targets import Target
    from etude.runtime.topologies import CompiledStep

Json = Any


def compiled_to_json(found: OnHardware, id: str) -> dict[str, Json]:
    """The field `compiled` of a stage whose step was compiled."""
    step = found.steps.get(id)
    if step is None:
        return {}
    if step.failure:
        return {"compiled": {"topology": step.topology, "failure": step.failure}}
    return {
        "compiled": {
            "topology": step.topology,
            "chips": step.chips,
            "batch": step.batch,
            "shared": step.shared,
            "rows_per_chip": step.rows,
            **({"model": step.model} if step.model > 1 else {}),
            "bytes_per_chip": step.bytes,
            "bytes_available": step.limit,
            "flops_per_chip": step.flops,
            "collectives": dict(step.collectives),
            "fits": step.fits,
        }
    }


def hardware_lines(found: OnHardware, stages: Mapping[str, PlannedStage], paint: Paint) -> list[str]:
    """A line for each distinct compiled step, with the memory of a chip above them."""
    return list(_lines(found, stages, paint))


def mesh_lines(target: Target, paint: Paint) -> list[str]:
    """What the estimates for a GPU mean where stages are shared out over several."""
    sizes = [shape.size for *_, mesh in meshes_of(target) if (shape := mesh_shape(mesh))]
    if target.chip is None or not sizes:
        return []
    what = f"what each of {max(sizes)} devices has"
    return [paint(f"on a mesh memory and time are {what}, without what they send to one another", "grey")]


def _lines(found: OnHardware, stages: Mapping[str, PlannedStage], paint: Paint) -> Iterator[str]:
    if found.chip is None:
        return
    yield paint(f"{found.chip.name}: {gigabytes(found.chip.memory)} GB", "bold")
    distinct: dict[CompiledStep, list[str]] = {}
    for id, step in found.steps.items():
        distinct.setdefault(step, []).append(stages[id].stage.name)
    for step, names in distinct.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        style = "" if step.fits and not step.failure else "bold red"
        yield f"  {names[0]}{more}: {paint(step_text(step), style)}"


def step_text(step: CompiledStep) -> str:
    """What a chip needs for a step, for people."""
    from etude.runtime.cli.plans import flops_text

    if step.failure:
        return f"could not be compiled for {step.topology}: {step.failure}"
    there = f"{gigabytes(step.limit)} GB"
    if not step.fits:
        return f"does not fit: a chip needs {gigabytes(step.bytes)} GB, there are {there}"
    sums = ", ".join(f"{count} {name}" for name, count in step.collectives) or "no collectives"
    part = f"{step.rows} of {step.batch} rows a chip"
    rows = part if step.shared else f"all {step.batch} rows on every chip (they cannot be shared out equally)"
    weights = f", weights over {step.model} chips" if step.model > 1 else ""
    costs = f"{gigabytes(step.bytes)} of {there} a chip, {flops_text(step.flops)} a chip and step"
    return f"{costs}, {rows}{weights}, {sums}"


def gigabytes(bytes: int) -> str:
    """
    >>> gigabytes(17_179_869_184), gigabytes(13_294_592)
    ('17.2', '0.0133')
    """
    return f"{bytes / 1e9:.1f}" if bytes >= 1e9 else f"{bytes / 1e9:.3g}"
