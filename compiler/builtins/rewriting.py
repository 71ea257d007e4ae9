"""Models made from models: parts frozen, replaced, tapped, drawn anew; and models after a training."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.data import function_argument
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.instances import model_name
from etude.compiler.models import model_origins
from etude.compiler.origins import trained_origin
from etude.compiler.parts import has_parts_known, matching_parts
from etude.compiler.surgery import Replacement, replaced
from etude.compiler.teachers import note_distillation
from etude.compiler.values import Adapter, Model, ModelClass, Output, Record, Tapped, describe
from etude.compiler.wrappers import apply_training, frozen_of, reseeded


def model_argument(site: CallSite, value: Any, argument: str = "model") -> Model:
    """An argument that must be a model."""
    if not isinstance(value, Model):
        raise faults.wrong_kind(f"'{argument}' of '{site.name}'", "a model", describe(value), site.at(argument))
    return value


def globs_argument(site: CallSite, value: Any, argument: str) -> tuple[str, ...]:
    """An argument that must be a glob over paths, or a list of them."""
    globs = value if isinstance(value, list) else [value]
    if not globs or not all(isinstance(glob, str) for glob in globs):
        expected = 'a glob over paths such as "blocks.*", or a list of them'
        raise faults.wrong_kind(f"'{argument}' of '{site.name}'", expected, describe(value), site.at(argument))
    return tuple(globs)


@builtin
def taps(site: CallSite, model: Any, at: Any) -> Model:
    """A model whose call gives `{output, activations}`: what the parts gave that globs name, as they were called."""
    base, globs = model_argument(site, model), globs_argument(site, at, "at")
    if has_parts_known(site.session, base):
        matching_parts(site.session, base, globs, site.at("at"))
    identity = ("taps", site.session.next_id(), base.identity)
    return Tapped(identity, base, globs, site.at("at"), name=base.name)


@builtin
def parts(site: CallSite, model: Any, at: Any) -> list[Model]:
    """The parts of a model whose paths a glob names, in the order of their paths."""
    base = known(site, model)
    return [part for _, part in matching_parts(site.session, base, globs_argument(site, at, "at"), site.at("at"))]


def known(site: CallSite, model: Any, argument: str = "model") -> Model:
    """An argument that must be a model whose parts and weights are known."""
    base = model_argument(site, model, argument)
    if not has_parts_known(site.session, base):
        text = f"the parts of '{model_name(base)}' are known once it is called: it has not been, up to here"
        raise faults.wrong_value(text, site.at(argument), "call the model before, or train it")
    return base


@builtin
def replace(site: CallSite, model: Any, *, at: Any, with_: Any, of: Any = None) -> Model:
    """A model with what `with` makes of a part in the place of each part that a glob names.

    `of` is a constructor: only parts that it made are meant, at any depth; else none within another.
    """
    base, globs = model_argument(site, model), globs_argument(site, at, "at")
    function = function_argument(site, with_, "with")
    if of is not None and not isinstance(of, ModelClass):
        raise faults.wrong_kind("'of' of 'replace'", "a model constructor", describe(of), site.at("of"))
    identity = ("replace", site.session.next_id())
    place = site.session.place(site.at("at"))
    change = Replacement(identity, globs, function, of, place, site.session.seed)
    return replaced(site.session, base, change, site.evaluator)


@builtin
def frozen(site: CallSite, model: Any) -> Model:
    """A model through which nothing learns, even where it is a part of what is updated."""
    return frozen_of(model_argument(site, model))


@builtin
def reseed(site: CallSite, model: Any, seed: Any) -> Model:
    """A model with what is still fresh of it drawn from another seed."""
    return reseeded(model_argument(site, model), plain_int(site, "seed", seed))


@builtin
def after(site: CallSite, training: Any, model: Any) -> Model:
    """A model with every weight that a training updated."""
    history = training.get("history") if isinstance(training, Record) else None
    if not isinstance(history, Output) or history.kind != "history":
        raise faults.wrong_kind("'training' of 'after'", "what 'train' gives", describe(training), site.at("training"))
    base = model_argument(site, model)
    learnt = site.session.memo["training", history.ref.stage]
    origins = model_origins(site.session, base)
    if origins and all(trained_origin(origin, learnt.updated) == origin for origin in origins):
        text = f"the training updated none of the weights of '{model_name(base)}'"
        raise faults.wrong_value(text, site.at("model"))
    return apply_training(base, learnt)


@builtin
def taught_by(site: CallSite, student: Any, teacher: Any) -> Any:
    """The teacher's tensor as it is; that the student's is to become like it is remembered."""
    note_distillation(site.session, student, teacher, site.location)
    return teacher


@builtin
def adapter(site: CallSite, model: Any, *, of: Any) -> Model:
    """A model as an adapter of the model it was made from."""
    base, adapted = model_argument(site, model), model_argument(site, of, "of")
    change = site.session.memo.get(("changed", base.identity))
    if change is None:
        raise faults.wrong_kind("'model' of 'adapter'", "what 'replace' gives", describe(base), site.at("model"))
    return Adapter(("adapter", base.identity), base, adapted, change, name=base.name)
