"""The losses of a `train`, traced: who plays, what the losses see, whose weights each of them reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.backends.program.builder import Builder
from etude.backends.program.dims import Size
from etude.backends.program.ir import Literal, StageProgram, Sub, Value
from etude.backends.program.serialize import program_digest, program_to_json
from etude.backends.program.types import TensorType
from etude.compiler import faults, weight_faults
from etude.compiler.calls import CallSite
from etude.compiler.captures import remembered
from etude.compiler.diagnostics import Location
from etude.compiler.instances import slot_of
from etude.compiler.lambdas import TracedFunction, scalar_outputs, trace
from etude.compiler.measured import fixed_type, stored_origin
from etude.compiler.models import model_origins
from etude.compiler.naming import HELD, STATE, called_losses, numbered, player_columns, unnamed
from etude.compiler.origins import can_learn
from etude.compiler.slots import SlotTable
from etude.compiler.slow_copies import held_copies
from etude.compiler.teachers import moved_by, warn_about_teachers
from etude.compiler.tracing import Frame, Origins, made_tensor, tensor
from etude.compiler.updated import gathered
from etude.compiler.values import (
    AnyOrigin,
    Dataset,
    Deferred,
    FrozenOrigin,
    Measured,
    Model,
    Record,
    Setting,
    Slow,
    SlowOrigin,
    StartOrigin,
    Tensor,
    describe,
)
from etude.compiler.wrappers import slow_of


class Player(Struct, frozen=True):
    """One step of a `train`: the models it updates by the names of their results, and how."""

    models: Mapping[str, Model]
    loss: Any
    optimizer: Mapping[str, Any]
    every: int
    loss_place: Location
    update_place: Location

    @property
    def name(self) -> str:
        """What the history calls it among others."""
        return "+".join(self.models)


def streams_of(site: CallSite, on: Any) -> dict[str, Dataset]:
    """The data sets of a `train` by name; a single one has the name ""."""
    if isinstance(on, Dataset):
        return {"": on}
    if isinstance(on, Record) and on and all(isinstance(d, Dataset) for d in on.values()):
        return dict(on)
    raise faults.wrong_kind(f"'on' of '{site.name}'", "a dataset, or a record of datasets", describe(on), site.at("on"))


class TrainTrace(Struct):
    """All that tracing the losses of a `train` found out."""

    losses: list[TracedFunction]
    live: frozenset[AnyOrigin]
    results: dict[str, Model]
    slow: dict[str, tuple[Slow, float]]
    state: dict[str, TensorType]
    initial_state: Sub | None
    given: dict[str, tuple[AnyOrigin, TensorType]] = field(default_factory=dict)
    copies: tuple[Sub, tuple[Origins, ...]] | None = None
    origins: dict[str, list[AnyOrigin]] = field(default_factory=dict)

    def extras(self, players: Sequence[Player]) -> dict[str, Any]:
        """What the last record pattern of a loss can name."""
        learning = gathered({n: m for p in players for n, m in p.models.items()})
        return {**learning, **{n: s for n, (s, _) in self.slow.items()}}

    def update_of(self, player: Player, slots: SlotTable) -> list[int]:
        """The slots that a player updates by gradients."""
        mine = {origin for name in player.models for origin in self.origins[name]}
        found = (index for origin, index in slots.origins.items() if origin in mine)
        return sorted(index for index in found if not slots.entries[index].get("running"))

    def ports(self, players: Sequence[Player], slots: SlotTable) -> list[list[int]]:
        """The slots of each result; a weight shared by two results belongs to the first."""
        taken: set[int] = set()
        ports = []
        for name in self.results:
            found = [slots.origins[origin] for origin in self.origins[name] if origin in slots.origins]
            port = [index for index in dict.fromkeys(found) if index not in taken]
            taken |= set(port)
            ports.append(port)
        return ports

    def replaced_by(self, result: str, origin: AnyOrigin) -> AnyOrigin:
        """The origin, in the model that a result is made from, of the weight that stood in a slot."""
        return origin.of if isinstance(origin, SlowOrigin) else origin

    def slow_spec(self, slots: SlotTable) -> dict[str, Any]:
        """The slots of slow copies: [slot, the slot it follows, decay]."""
        follows = []
        for origin, index in slots.origins.items():
            if isinstance(origin, SlowOrigin):
                follows.append([index, slots.origins[origin.of], self.slow[origin.name][1]])
        return {"ema": follows} if follows else {}

    def copies_spec(self, slots: SlotTable) -> dict[str, Any]:
        """A program that has the slow copies which no loss calls, and does nothing with them."""
        if self.copies is None:
            return {}
        sub, origins = self.copies
        return {"copies": program_to_json(StageProgram(sub, slots.modules(sub, origins)))}

    def state_spec(self, slots: SlotTable) -> dict[str, Any]:
        """The tensors that are carried from step to step, and the program of their first values; `given` are the slots
        of those that are known only after other stages."""
        if self.initial_state is None:
            return {}
        init = program_to_json(StageProgram(self.initial_state, ()))
        init["digest"] = program_digest(unnamed(self.initial_state, {}, numbered(self.state)))
        given = {name: slots.add(origin, type, f"state.{name}") for name, (origin, type) in self.given.items()}
        return {"state": {"names": list(self.state), "init": init, **({"given": given} if given else {})}}

    def validation_loss(
        self, site: CallSite, players: Sequence[Player], streams: Mapping[str, Dataset]
    ) -> TracedFunction:
        """The loss as validation computes it, with the state as it is then: nothing is in training mode. Of several
        players it has the loss of each."""
        first, at = players[0], {"training": False, "live": frozenset[AnyOrigin]()}
        if len(players) > 1:
            called = called_losses(player_columns([player.name for player in players]))
            losses = {name: player.loss for (name, _), player in zip(called, players, strict=True)}
            first = replace(first, loss=losses)
        traced = _trace_loss(site, first, streams, self.extras(players), self.state, **at)  # type: ignore[arg-type]
        kept = tuple((name, value) for name, value in traced.sub.outputs if not name.startswith(STATE))
        traced = replace(traced, sub=replace(traced.sub, outputs=kept))
        scalar_outputs(traced, "the loss", first.loss_place)
        return traced


def trace_losses(
    site: CallSite,
    streams: Mapping[str, Dataset],
    players: Sequence[Player],
    copies: Mapping[str, Setting],
    state: Mapping[str, Any],
) -> TrainTrace:
    """Trace each loss once to find what it reaches, and again if that decides which models are in training mode."""
    results = {name: model for player in players for name, model in player.models.items()}
    slow = {n: (slow_of(c.fields["model"], n), c.fields["decay"]) for n, c in copies.items()}
    initial, types, given = _initial_state(site, state)
    named = {**results, **{n: s.base for n, (s, _) in slow.items()}}
    made = TrainTrace([], frozenset(), named, slow, types, initial, given)
    extras = made.extras(players)

    def losses(live: frozenset[AnyOrigin] | None) -> list[TracedFunction]:
        return [_trace_loss(site, p, streams, extras, types, training=True, live=live) for p in players]

    made.losses = losses(None)
    for player, traced in zip(players, made.losses, strict=True):
        _check_outputs(traced, types, player)
    _find_origins(site, made, players)
    made.live = frozenset(o for p in players for name in p.models for o in made.origins[name])
    if any(traced.uses_mode for traced in made.losses) or _is_frozen_elsewhere(made):
        made.losses = losses(made.live)
    warn_about_teachers(site.session, made.live)
    _check_gradients(site, made, players)
    made.copies = held_copies(site, made.losses, made.slow, made.live, made.origins)
    return made


def _is_frozen_elsewhere(made: TrainTrace) -> bool:
    """Whether a weight that learns stands in a frozen model, too."""
    found = (origin for traced in made.losses for tree in traced.origins for origin in tree.flat)
    return any(isinstance(origin, FrozenOrigin) and origin.of in made.live for origin in found)


def _find_origins(site: CallSite, made: TrainTrace, players: Sequence[Player]) -> None:
    reached = {origin for traced in made.losses for tree in traced.origins for origin in tree.flat}
    for player in players:
        for name, model in player.models.items():
            found = [o for o in model_origins(site.session, model) if o in reached]
            made.origins[name] = [o for o in found if can_learn(o)]
            if found and not made.origins[name]:
                raise weight_faults.nothing_learns(name, player.update_place)
            if not found:
                still = {o.of for o in reached if isinstance(o, FrozenOrigin | StartOrigin)}
                is_frozen = not still.isdisjoint(model_origins(site.session, model))
                unused = weight_faults.nothing_learns if is_frozen else faults.unreached_model
                raise unused(name, player.update_place)


def _check_gradients(site: CallSite, made: TrainTrace, players: Sequence[Player]) -> None:
    """Each model of each player can learn from its loss; what keeps statistics may be there for these alone."""
    for player, traced in zip(players, made.losses, strict=True):
        moved = moved_by(traced, made.live)
        for name in player.models:
            own = made.origins[name]
            if moved.isdisjoint(own) and not any(slot_of(site.session, origin)[1].running for origin in own):
                raise weight_faults.no_gradient(name, player.update_place)


def _trace_loss(
    site: CallSite,
    player: Player,
    streams: Mapping[str, Dataset],
    extras: Mapping[str, Any],
    state: Mapping[str, TensorType],
    *,
    training: bool,
    live: frozenset[AnyOrigin] | None,
) -> TracedFunction:
    def introduce(frame: Frame, place: Location) -> dict[str, Any]:
        """The names of the last record pattern that are inputs of the program rather than models."""
        types = {"@step": TensorType("int32"), "@progress": TensorType("float32")}
        carried = STATE if training else HELD
        types |= {carried + name: type for name, type in state.items()}
        inputs = {n: tensor(frame, frame.builder.input(n, type), place) for n, type in types.items()}
        return {name.removeprefix(carried).removeprefix("@"): value for name, value in inputs.items()}

    columns = {name: d.columns for name, d in streams.items()}
    at = {"training": training, "live": live, "extras": extras, "introduce": introduce}

    def traced() -> TracedFunction:
        if set(columns) == {""}:
            return trace(site, "loss", "batch", player.loss, columns[""], **at)  # type: ignore[arg-type]
        return trace(site, "loss", "batch", player.loss, {}, streams=columns, **at)  # type: ignore[arg-type]

    objects = {**{f"{name}.columns": each for name, each in columns.items()}, **extras}
    if isinstance(player.loss, dict):
        return traced()
    loss: TracedFunction = remembered(
        site.session, player.loss, objects, (training, live, tuple(state.items())), traced
    )
    return loss


def _check_outputs(traced: TracedFunction, state: Mapping[str, TensorType], player: Player) -> None:
    """A loss gives numbers, and with state, each tensor of it with its type."""
    given = {n.removeprefix(STATE): v.type for n, v in traced.sub.outputs if n.startswith(STATE)}
    for name, type in state.items():
        if name not in given:
            text = f"the loss must hand on the state '{name}': return {{loss: ..., state: {{{name}: ...}}}}"
            raise faults.wrong_value(text, player.loss_place)
        if given[name] != type:
            help = None
            if type.rank and any(isinstance(dim, Size) for dim in given[name].shape):
                help = f"batches have no fixed size: cut what was joined, concat([new, old])[0:{type.shape[0]}]"
            raise faults.wrong_kind(f"the state '{name}'", str(type), str(given[name]), player.loss_place, help)
    for name in sorted(given.keys() - state.keys()):
        none = f"give its first value: state = {{{name}: zeros([..])}}"
        help = f"the states are {', '.join(state)}" if state else none
        raise faults.wrong_value(f"the loss hands on '{name}', which is no state", player.loss_place, help)
    terms = [item for item in traced.sub.outputs if not item[0].startswith(STATE)]
    for name, value in terms:
        what = f"the loss '{name}'" if name else "the loss"
        if value.type.rank:
            raise faults.not_a_scalar(what, str(value.type), player.loss_place)
        if value.type.dtype != "float32" and isinstance(value, Value):
            help = "gradients need a float: a count or a truth value has none"
            raise faults.wrong_kind(what, "a float", f"{value.type}", player.loss_place, help)


Given = dict[str, tuple[AnyOrigin, TensorType]]


def _initial_state(site: CallSite, state: Mapping[str, Any]) -> tuple[Sub | None, dict[str, TensorType], Given]:
    """The program of the first values, their types, and where those come from that are known only after the run."""
    if not state:
        return None, {}, {}
    place = site.at("state")
    late = {name: value for name, value in state.items() if isinstance(value, Measured | Deferred)}
    given: Given = {
        name: (stored_origin(site.session, value, place), fixed_type(value, place)) for name, value in late.items()
    }
    frame = Frame("batch", Builder("state"), False)
    with site.session.tracing(frame):
        values = {
            name: made_tensor(site.session, value, place) if name not in given else _zeros(frame, given[name][1], place)
            for name, value in state.items()
        }
    sub = frame.builder.build([(name, value.operand) for name, value in values.items()])
    return sub, {name: value.type for name, value in values.items()}, given


def _zeros(frame: Frame, type: TensorType, place: Location) -> Tensor:
    """What stands in the program for a value that the stage reads from a file."""
    zero = Literal(False if type.dtype == "bool" else 0 if type.dtype == "int32" else 0.0)
    return tensor(frame, frame.builder.apply("full", [zero], {"shape": type.shape})[0], place)
