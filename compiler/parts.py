"""The parts of models: by name, by place, by glob over their paths, and as they are in a model made from a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from etude.compiler import weight_faults
from etude.compiler.diagnostics import Location
from etude.compiler.globs import matches, nearest_paths
from etude.compiler.instances import model_name
from etude.compiler.models import traced_model
from etude.compiler.session import Session
from etude.compiler.values import Chain, Instance, Model, Wrapper
from etude.compiler.wrappers import rewrap


def direct_parts(session: Session, model: Model) -> list[tuple[str, Model]]:
    """The parts of a model with their names, as far as it has been traced; of a list its elements, `blocks.0`."""
    if isinstance(model, Chain):
        return [(_name(model, i, part), part) for i, part in enumerate(model.parts) if isinstance(part, Model)]
    if isinstance(model, Wrapper):
        found = direct_parts(session, model.base)
        return [(name, rewrap(model, part)) for name, part in found]
    traced = traced_model(session, model)
    return [] if traced is None else [(name, _named(part, name)) for name, part in traced.parts]


def _name(chain: Chain, index: int, part: Model) -> str:
    return str(index) if chain.is_list or not part.name else part.name


def _named(part: Model, name: str) -> Model:
    return part if part.name else replace(part, name=name)


def all_parts(session: Session, model: Model, prefix: str = "") -> Iterator[tuple[str, Model]]:
    """Every part at any depth with its path, each before its own parts."""
    for name, part in direct_parts(session, model):
        yield f"{prefix}{name}", part
        yield from all_parts(session, part, f"{prefix}{name}.")


def has_parts_known(session: Session, model: Model) -> bool:
    """Whether a model has been traced, so that its parts are known."""
    if isinstance(model, Chain):
        return all(has_parts_known(session, part) for part in model.parts if isinstance(part, Model))
    if isinstance(model, Wrapper):
        return has_parts_known(session, model.base)
    return traced_model(session, model) is not None


def matching_parts(
    session: Session, model: Model, globs: Sequence[str], location: Location, *, nested: bool = True
) -> list[tuple[str, Model]]:
    """The parts whose path a glob names, each once; with `nested = False` none below another. Refuses a glob that names
    no part."""
    found = list(all_parts(session, model))
    for glob in globs:
        if not any(matches(glob, path) for path, _ in found):
            near = nearest_paths(glob, [path for path, _ in found])
            raise weight_faults.no_part(glob, model_name(model), location, near)
    chosen: list[tuple[str, Model]] = []
    for path, part in found:
        is_below = any(path.startswith(f"{above}.") for above, _ in chosen)
        if any(matches(glob, path) for glob in globs) and (nested or not is_below):
            chosen.append((path, part))
    return chosen


def part_named(session: Session, model: Model, name: str) -> Any:
    """A part by its name, or a list of parts (`m.blocks`) as a chain of them; a setting of a constructor by its name.

    None for neither.
    """
    found = direct_parts(session, model)
    for own, part in found:
        if own == name:
            return part
    elements = [part for own, part in found if own.startswith(f"{name}.") and own.removeprefix(f"{name}.").isdigit()]
    if elements:
        identity = ("chain", *(part.identity for part in elements))
        return Chain(identity, tuple(elements), _place(model), True, name=name)
    return None


def _place(model: Model) -> Location:
    while isinstance(model, Wrapper):
        model = model.base
    assert isinstance(model, Chain | Instance)
    return model.location


def setting_of(model: Model, name: str) -> tuple[bool, Any]:
    """Whether a model's constructor has a setting of a name, and its value; models in it as they are in this model."""
    if isinstance(model, Wrapper):
        has_one, value = setting_of(model.base, name)
        return has_one, _rewrapped(model, value)
    if isinstance(model, Instance) and name in model.configuration:
        return True, model.configuration[name]
    return False, None


def _rewrapped(wrapper: Wrapper, value: Any) -> Any:
    if isinstance(value, Model):
        return rewrap(wrapper, value)
    return [_rewrapped(wrapper, each) for each in value] if isinstance(value, list) else value
