"""`train`: whose weights learn, on what loss, for how long."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.structs import replace

from etude.compiler import faults
from etude.compiler import train_settings as settings
from etude.compiler.builtins.data import function_argument
from etude.compiler.builtins.generating import for_training
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.checking import Checks
from etude.compiler.continuing import resumed
from etude.compiler.groups import resolved_optimizer
from etude.compiler.naming import history_columns
from etude.compiler.players import Player, TrainTrace, streams_of
from etude.compiler.probes import watch_inputs, watched
from etude.compiler.row_order import row_order, row_tokens, set_aside
from etude.compiler.slots import Inputs, SlotTable
from etude.compiler.train_programs import train_programs
from etude.compiler.train_results import finished, stand_ins
from etude.compiler.updated import gathered, named_models
from etude.compiler.values import Closure, Model, Record, Setting, describe


@builtin
def step(site: CallSite, update: Any, loss: Any, *, optimizer: Any = None, every: Any = 1) -> Setting:
    """One player of `updates`: its models, its loss, its optimizer; it moves `every` so many passes.

    Players share the batch and move in the order of the list; the gradients of one reach only its own models.
    """
    function_argument(site, loss, "loss")
    fields = {
        "models": named_models(site, update),
        "loss": loss,
        "optimizer": settings.optimizer(site, optimizer),
        "every": settings.positive(site, "every", every),
        "place": site.at("loss"),
    }
    return Setting("step", fields)


@builtin
def slow(site: CallSite, model: Any, decay: Any) -> Setting:
    """A copy of a model whose weights follow it slowly: an exponential moving average.

    After each step a weight is `decay` times itself plus 1 - `decay` times the one it follows. For `ema` of `train`.
    """
    if not isinstance(model, Model):
        raise faults.wrong_kind("'model' of 'slow'", "a model", describe(model), site.at("model"))
    share = settings.number(site, "decay", decay)
    if not 0 <= share <= 1:
        raise faults.wrong_value(
            f"'decay' is what a weight keeps of itself, between 0 and 1, got {share:g}", site.at("decay")
        )
    return Setting("slow", {"model": model, "decay": share})


@builtin
def train(
    site: CallSite,
    on: Any,
    update: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    schedule: Any = None,
    batch: Any = None,
    budget: Any = None,
    valid: Any = None,
    score: Any = None,
    valid_every: Any = None,
    keep: Any = None,
    patience: Any = None,
    clip: Any = None,
    seed: Any = None,
    updates: Any = None,
    ema: Any = None,
    state: Any = None,
    watch: Any = None,
    watch_every: Any = None,
    resume: Any = None,
    accumulate: Any = None,
    weights: Any = None,
    order: Any = None,
) -> Record:
    """Update the weights of models on a loss. The result has each updated model, slow copies, and `history`.

    By default: `optimizer` adamw(lr = 1e-3, weight_decay = 0.01), `schedule` constant(), `batch` 64, `budget` 20 epochs
    but at least 200 steps, `keep` last, `valid_every` 1 epoch, `seed` the recipe's. In the loss, models stand for their
    current weights where they are updated; its arguments are the columns, and a last pattern of what `train` brings.
    """
    check = Checks(site)
    streams = check(lambda: set_aside(streams_of(site, for_training(site, on, budget, batch)), weights, order))
    others = check(lambda: None if valid is None else settings.held_out(site, streams, streams_of(site, valid)))
    held_out = None if others is None else set_aside(others, weights, order)
    players = check(lambda: _players(site, update, loss, optimizer, updates))
    copies, first = check(lambda: _slow_copies(site, ema)), check(lambda: _state(site, state))
    can_trace = not check.failed
    own_seed = check(lambda: site.session.seed if seed is None else plain_int(site, "seed", seed))
    plain = _plain_settings(
        site, check, budget=budget, schedule=schedule, batch=batch, clip=clip, keep=keep, patience=patience,
        valid_every=valid_every, watch_every=watch_every, held_out=held_out,
    )  # fmt: skip
    if not can_trace:
        check.end()
    programs = train_programs(site, players, streams, held_out, score, copies, first)
    check.end()
    traced, slots = programs.traced, programs.slots_for(site, own_seed)
    inputs = slots.inputs
    spec: dict[str, Any] = {
        "steps": [
            {
                "loss": program,
                "update": update,
                "optimizer": check(partial(resolved_optimizer, site, player, update, slots)),
                "every": player.every,
                "name": player.name,
            }
            for player, program, update in zip(players, programs.losses, programs.updates, strict=True)
        ],
        "schedule": plain["schedule"],
        "batch": plain["batch"],
        "budget": check(lambda: settings.budget(site, budget, lambda: row_tokens(streams, traced))),
        "clip": plain["clip"],
        "valid": programs.valid and {**programs.valid, "every": plain["every"]},
        "keep": plain["keep"],
        "patience": plain["patience"],
        "seed": own_seed,
        "inputs": programs.places,
    }
    if held_out is None:
        every = None if spec["keep"] == "all" else valid_every
        check(lambda: settings.needs_valid(site, score=score, patience=patience, valid_every=every))
    elif len(players) > 1 and score is None:
        check(lambda: settings.needs_score(site, spec))
    spec["score"] = spec["valid"]["stored"][0] if spec["valid"] and spec["valid"]["scores"] else None
    spec |= programs.fields | check(lambda: row_order(site, streams, weights, order), {})
    spec |= check(lambda: settings.checkpoints(site, spec, valid_every), {})
    spec |= check(lambda: settings.accumulation(site, accumulate, traced), {})
    check.end()
    settings.check_time(site, spec)
    spec["slots"] = slots.entries
    spec |= resumed(site, resume, spec, inputs)
    _watch(site, spec, watch, watch_every, inputs, traced, slots)
    spec["columns"] = history_columns(spec["steps"], spec["valid"], spec.get("watch", {}).get("probes", ()))
    return finished(site, spec, inputs, traced, slots)


def _plain_settings(site: CallSite, check: Checks, *, held_out: Any, **given: Any) -> dict[str, Any]:
    """The settings that depend on nothing but themselves."""
    schedule, batch, clip, keep, patience = (given[name] for name in ("schedule", "batch", "clip", "keep", "patience"))
    check(lambda: settings.budget(site, given["budget"], lambda: 1))
    check(lambda: _period(site, "watch_every", given["watch_every"]))
    every = check(lambda: _period(site, "valid_every", given["valid_every"]), {"epochs": 1})
    held = None if held_out is None else next(iter(held_out.values()))
    return {
        "schedule": check(lambda: settings.setting(site, "schedule", schedule, {"name": "constant", "warmup": 0.0})),
        "batch": check(lambda: 64 if batch is None else settings.positive(site, "batch", batch)),
        "clip": check(lambda: settings.clipping(site, clip)),
        "every": every,
        "keep": check(lambda: settings.keep_choice(site, keep, held)),
        "patience": check(lambda: settings.patience_of(site, patience, every)),
    }


def _period(site: CallSite, name: str, value: Any) -> dict[str, Any]:
    return {"epochs": 1} if value is None else settings.duration(site, name, value, ("epochs", "steps"))


def _watch(
    site: CallSite,
    spec: dict[str, Any],
    watch: Any,
    every: Any,
    inputs: Inputs,
    traced: TrainTrace,
    slots: SlotTable,
) -> None:
    """Put probes into the spec of a training, which is the same without them."""
    period = _period(site, "watch_every", every)
    if watch is None and every is not None:
        raise faults.wrong_value("'watch_every' says when to watch, but not what", site.name_of("watch_every"))
    others = list(range(len(inputs.refs)))
    found = watched(site, watch, gathered(stand_ins(spec, traced, slots)), period, inputs)
    if found is not None:
        spec["watch"] = found
        spec["inputs"] = {**spec["inputs"], "watch": watch_inputs(found, others)}


def _players(site: CallSite, update: Any, loss: Any, optimizer: Any, updates: Any) -> list[Player]:
    if updates is None:
        if loss is None or update is None:
            raise faults.missing_argument("train", "loss" if loss is None else "update", site.location)
        function_argument(site, loss, "loss")
        models = named_models(site, update)
        return [Player(models, loss, settings.optimizer(site, optimizer), 1, site.at("loss"), site.at("update"))]
    if loss is not None or update is not None or optimizer is not None:
        given = "loss" if loss is not None else "update" if update is not None else "optimizer"
        text = f"'train' takes '{given}' or 'updates', not both"
        raise faults.wrong_value(text, site.name_of(given), f"give '{given}' to each step")
    if (
        not isinstance(updates, list)
        or not updates
        or not all(isinstance(s, Setting) and s.kind == "step" for s in updates)
    ):
        raise faults.wrong_kind(
            "'updates'", "a list of step(update = ..., loss = ...)", describe(updates), site.at("updates")
        )
    return [
        Player(f["models"], f["loss"], f["optimizer"], f["every"], f["place"], f["place"])
        for f in (item.fields for item in updates)
    ]


def _slow_copies(site: CallSite, ema: Any) -> dict[str, Setting]:
    if ema is None:
        return {}
    if not isinstance(ema, Record) or not all(isinstance(v, Setting) and v.kind == "slow" for v in ema.values()):
        raise faults.wrong_kind(
            "'ema'", "a record of slow copies: {teacher: slow(net, 0.99)}", describe(ema), site.at("ema")
        )
    return dict(ema)


def _state(site: CallSite, state: Any) -> dict[str, Any]:
    if state is None:
        return {}
    if not isinstance(state, Record):
        raise faults.wrong_kind("'state'", "a record of tensors", describe(state), site.at("state"))
    return dict(state)


@builtin
def curriculum(site: CallSite, column: Any, start: Any = 0.2, until: Any = 0.5, power: Any = 1.0) -> Setting:
    """Rows by rising numbers of a column: at first the lowest share, and more of them until all at a share of the
    budget (Bengio et al., 2009; Platanios et al., 2019)."""
    numbers = {n: settings.number(site, n, v) for n, v in {"start": start, "until": until, "power": power}.items()}
    for name in ("start", "until"):
        if not 0 <= numbers[name] <= 1:
            raise faults.wrong_value(f"'{name}' is a share, between 0 and 1", site.at(name), "write 50%")
    if numbers["power"] <= 0:
        raise faults.wrong_value("'power' must be more than 0", site.at("power"))
    return Setting("order", {"column": column, **numbers})


@builtin
def bound_loss(site: CallSite, model: Any, loss: Any) -> Any:
    """`(m, x, y) => e` with its first parameter bound to a model: the `(x, y) => e` that `train` takes."""
    if not isinstance(loss, Closure) or not loss.parameters:
        raise faults.wrong_kind("'loss'", "a function (m, x, y) => e", describe(loss), site.at("loss"))
    first = loss.parameters[0]
    if not hasattr(first, "name"):
        raise faults.wrong_pattern("the first parameter of this loss is the model", site.at("loss"), "(m, x, y) => e")
    scope = loss.scope.child(**{first.name: model})
    return replace(loss, parameters=loss.parameters[1:], scope=scope)
