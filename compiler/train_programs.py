"""The programs of a `train` and the weights that they need: made once for members of a sweep that differ in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.compiler.calls import CallSite
from etude.compiler.captures import MOST_KEPT, captured
from etude.compiler.keys import canonical_program
from etude.compiler.lambdas import TracedFunction, scalar_outputs, trace
from etude.compiler.naming import called_losses, player_columns, score_name, stored_inputs, stored_terms
from etude.compiler.players import Player, TrainTrace, trace_losses
from etude.compiler.session import Session
from etude.compiler.slots import Inputs, SlotTable, warn_about_fresh
from etude.compiler.structure import digest
from etude.compiler.values import Dataset, Setting

Json = Any
Streams = Mapping[str, Dataset]


class TrainPrograms(Struct):
    """What tracing a `train` came to. `fields` are those of its spec that no number decides, `valid` the programs of
    its validation, `updates` the slots that each player moves, `places` the inputs of its streams."""

    traced: TrainTrace
    slots: SlotTable
    losses: list[Json]
    updates: list[list[int]]
    valid: dict[str, Json] | None
    places: dict[str, Json]
    fields: dict[str, Json]
    seeded: dict[int, SlotTable] = field(default_factory=dict)

    def slots_for(self, site: CallSite, seed: int) -> SlotTable:
        """The weights of a member with this seed, and the inputs, to which it can add its own."""
        known = self.seeded.get(seed)
        if known is None:
            table = replace(self.slots, seed=seed)
            table.entries = [
                {**entry, "source": table.source(origin)} if "fresh" in entry["source"] else entry
                for entry, origin in zip(table.entries, table.origins, strict=True)
            ]
            learnt = {index for update in self.updates for index in update}
            warn_about_fresh(site, table, live=learnt, copies=[index for index, *_ in self.fields.get("ema", ())])
            known = self.seeded[seed] = table
        return replace(known, inputs=Inputs(list(known.inputs.refs)))


def train_programs(
    site: CallSite,
    players: Sequence[Player],
    streams: Streams,
    held_out: Streams | None,
    score: Any,
    copies: Mapping[str, Setting],
    state: Mapping[str, Any],
) -> TrainPrograms:
    """Trace what a `train` is given, or find what another member of a sweep came to with the same."""

    def made() -> TrainPrograms:
        return _traced(site, players, streams, held_out, score, copies, state)

    if state:
        return made()
    session = site.session
    kept: list[Any] = []

    def known(value: Any) -> Any:
        return captured(session, value, kept)

    def data(given: Streams | None) -> Any:
        return given and tuple((name, d.ref, known(d.columns)) for name, d in given.items())

    key = (
        session.place(site.location),
        session.seed,
        tuple((known(p.loss), tuple((name, known(model)) for name, model in p.models.items())) for p in players),
        tuple((name, known(each.fields["model"]), each.fields["decay"]) for name, each in copies.items()),
        (data(streams), data(held_out), known(score)),
    )
    return _once(session, key, kept, made)


def _once(session: Session, key: Any, kept: list[Any], compute: Callable[[], TrainPrograms]) -> TrainPrograms:
    known = session.memo.setdefault("train programs", {})
    if key not in known:
        if len(known) >= MOST_KEPT:
            known.clear()
        before, made = session.asked, compute()
        if session.asked > before:
            return made  # each member asks for stages in its own name, and under its own conditions
        known[key] = (made, kept)  # kept, so that no id in a key is given to another object
    found: TrainPrograms = known[key][0]
    return found


def _traced(
    site: CallSite,
    players: Sequence[Player],
    streams: Streams,
    held_out: Streams | None,
    score: Any,
    copies: Mapping[str, Setting],
    state: Mapping[str, Any],
) -> TrainPrograms:
    traced = trace_losses(site, streams, players, copies, state)
    inputs = Inputs([d.ref for d in streams.values()])
    places = {"on": _one({name: inputs.index(d.ref) for name, d in streams.items()}), "valid": None}
    if held_out is not None:
        places["valid"] = _one({name: inputs.index(d.ref) for name, d in held_out.items()})
    slots = SlotTable(inputs, site.session.seed)
    losses = [_loss_json(loss, slots, streams, traced) for loss in traced.losses]
    copies = traced.copies_spec(slots)
    updates = [traced.update_of(player, slots) for player in players]
    valid = None if held_out is None else _validation(site, players, traced, score, held_out, slots)
    ports = traced.ports(players, slots)
    fields = {
        **copies,
        **traced.slow_spec(slots),
        **traced.state_spec(slots),
        "results": ports,
        "names": [
            [name, [slots.entries[i]["path"] for i in port]] for name, port in zip(traced.results, ports, strict=True)
        ],
        "identity": digest([canonical_program(program) for program in losses]),
    }
    return TrainPrograms(traced, slots, losses, updates, valid, places, fields)


def _one(places: dict[str, int]) -> Any:
    """The input of the only data set; with several, the input of each stream by name."""
    return places[""] if set(places) == {""} else places


def _validation(
    site: CallSite, players: Sequence[Player], traced: TrainTrace, score: Any, streams: Streams, slots: SlotTable
) -> dict[str, Json]:
    """The programs of a validation; `stored` is what the store calls the scores."""
    loss = traced.validation_loss(site, players, streams)
    scores: Any = None
    names: dict[str, str] = {}
    if score is not None:
        columns = {name: d.columns for name, d in streams.items()}
        named = None if set(columns) == {""} else columns
        extras = traced.extras(players)
        rows = trace(site, "scores", "row", score, columns.get("", {}), extras=extras, streams=named)
        scalar_outputs(rows, "the score", site.at("score"))
        terms = {name for name, _ in loss.sub.outputs}
        names = {
            name: score_name(number, name, value.type.dtype == "bool", terms)
            for number, (name, value) in enumerate(rows.sub.outputs)
        }
        scores = rows.to_json(slots, stored_inputs(rows.sub, list(streams), ()), names)
    about = {"score_names": [*names], "stored": [*names.values()]}
    return {"loss": _loss_json(loss, slots, streams, traced, players), "scores": scores, **about}


def _loss_json(
    loss: TracedFunction, slots: SlotTable, streams: Streams, traced: TrainTrace, players: Sequence[Player] = ()
) -> Json:
    """The program of a loss; of several players together, as a validation has them, with a term for each."""
    state = list(traced.state)
    terms = dict(called_losses(player_columns([player.name for player in players]))) if len(players) > 1 else None
    return loss.to_json(slots, stored_inputs(loss.sub, list(streams), state), terms or stored_terms(loss.sub, state))
