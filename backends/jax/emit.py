"""Stages as JAX source: nnx modules, and pure functions that train them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from etude.backends.emission import Emitted
from etude.backends.emission.dialect import Dialect
from etude.backends.emission.following import followings
from etude.backends.emission.layout import indented, quoted
from etude.backends.emission.optimizers import optax_groups, optax_optimizer
from etude.backends.emission.parameters import Argument
from etude.backends.emission.programs import has_streams, least_parts, reads_clock, row_programs, title, train_programs
from etude.backends.emission.stacks import parts_of, plan_stacks
from etude.backends.emission.stage import StageWriter, join_module, record
from etude.backends.emission.templates import fill
from etude.backends.numerics import PORTABLE, Numerics
from etude.backends.program.ir import Slot

BUILD = '''
def build(*weights: dict[str, Array]) -> Models:
    """Make the models around weights that are named by their paths."""
    return rebuild(Models, *<weights>)
'''
LOSS = '''
def <name>(models: Models, batch: dict[str, Array], <state>key: Array) -> tuple[Array, <type>]:
    """Return the loss of a batch, <summary>."""
    <body>
    return total, <terms>
'''
OPTIMIZER = '''
def <name>(lr: Array | float) -> optax.GradientTransformation:
    """Make the optimizer<whose> for one learning rate; its state serves them all."""
    return <made>
'''
INIT = '''
def init(params: dict[str, Array]) -> optax.OptState:
    """Return the first state of the optimizer."""
    return optimizer(0.0).init(<learned>)
'''
STEP = '''
@partial(jax.jit, donate_argnums=(<donated>))
def step(
    params: dict[str, Array],
    <slow>
    rest: dict[str, Array],
    opt_state: optax.OptState,
    <state>
    data: dict[str, Array],
    index: <index>,
    <clock>
    key: Array,
    lr: Array,
) -> tuple[dict[str, Array], <types>dict[str, Array]]:
    """Update `params` on the rows of `data` at `index`; return <summary>."""
    batch = <batch>
    <grads>
    <clip>
    updates, opt_state = optimizer(lr).update(grads, opt_state, <learned>)
    <apply>
    return <updated>, opt_state, <next>terms
'''
PLAYERS_INIT = '''
def init(params: dict[str, Array]) -> tuple[optax.OptState, ...]:
    """Return the first state of every player's optimizer."""
    return tuple(optimizer(0.0).init({path: params[path] for path in paths}) for _, optimizer, paths in PLAYERS)
'''
UPDATE = '''
def update(
    number: int,
    params: dict[str, Array],
    rest: dict[str, Array],
    opt_state: optax.OptState,
    <state>
    batch: dict[str, Array],
    key: Array,
    lr: Array,
) -> tuple[dict[str, Array], optax.OptState, <carried>dict[str, Array]]:
    """Update one player's part of `params`."""
    loss, optimizer, paths = PLAYERS[number]
    own = {path: params[path] for path in paths}
    <grads>
    <clip>
    updates, opt_state = optimizer(lr).update(grads, opt_state, own)
    return params | optax.apply_updates(own, updates)<tracked>, opt_state, <next>terms
'''
PLAYERS = '''
@partial(jax.jit, donate_argnums=(<donated>))
def step(
    params: dict[str, Array],
    <slow>
    rest: dict[str, Array],
    opt_states: tuple[optax.OptState, ...],
    <state>
    data: dict[str, Array],
    index: <index>,
    <clock>
    key: Array,
    lrs: tuple[Array | None, ...],
) -> tuple[dict[str, Array], <types>dict[str, Array]]:
    """Let the players update their parts of `params` in turn; one whose learning rate is None rests."""
    batch = <batch>
    states, terms = list(opt_states), {}
    for number, lr in enumerate(lrs):
        if lr is not None:
            own = random.fold(key, number)
            params, states[number], <next>found = update(number, params, <frozen>, states[number], <rest>)
            terms |= {f"{number}.{name}": term for name, term in found.items()}
    return <updated>, tuple(states), <next>terms
'''
TRACKED = """
def tracked(own: dict[str, Array]) -> tuple[Array, Any]:
    models = build(<weights>)
    total, found = loss(models, batch, <given>key)
    return total, (found, values_at(models, STATISTICS))
"""
LEARNED = '''
def learned(params: dict[str, Array]) -> dict[str, Array]:
    """Leave out the statistics of batches, which gradients do not reach."""
    return {path: value for path, value in params.items() if path not in STATISTICS}
'''
FOLLOW = '''
def follow(slow: dict[str, Array], weights: dict[str, Array]) -> dict[str, Array]:
    """Move the slow copies towards the weights that they follow."""
    return {
        path: value + (1 - decay) * (weights[followed + path.removeprefix(copy)] - value)
        for copy, followed, decay in FOLLOWS
        for path, value in slow.items()
        if path == copy or path.startswith(f"{copy}.")
    }
'''
INITIAL = '''
def initial_state(key: Array) -> dict[str, Array]:
    """Return what the first step is given as the state."""
    <body>
    return <state>
'''
EVALUATE = '''
def evaluate(models: Models, batch: dict[str, Array], key: Array) -> dict[str, Array]:
    """Return the loss of a batch and its terms, with the models in evaluation mode."""
    <body>
    return <terms>
'''
ROWS = '''
def <name>(models: <models>, batch: dict[str, Array], rows: Array, key: Array) -> dict[str, Array]:
    """<doc>"""
    <body>
    return <outputs>
'''


STATE = "state: dict[str, Array],"
FOLLOWED = "params, follow(slow, params | rest)"


def _parameter(name: str, slot: Slot, shape: Sequence[Argument]) -> str:
    dtype = "" if slot.type.dtype == "float32" else f", jnp.{slot.type.dtype}"
    size = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    kind = "nnx.BatchStat" if slot.running else "nnx.Param"
    return f"self.{name} = {kind}(jnp.zeros({size}{dtype}))"


DIALECT = Dialect(
    framework="jax",
    array="Array",
    key="Array",
    module="nnx.Module",
    forward="__call__",
    read="[...]",
    sequence="nnx.List",
    parameter=_parameter,
)


def emit_train(spec: Mapping[str, Any], numerics: Numerics = PORTABLE, scans: int = 0) -> Emitted:
    """The module of a train stage; at least `scans` equal blocks are one scan, none where it is 0."""
    programs = train_programs(spec)
    dialect = replace(DIALECT.of(numerics), scans=scans)
    writer = StageWriter(dialect, programs, evaluation=("evaluate", "scores"))
    losses = [name for name in programs if name.startswith("loss")]
    names = Names(writer, spec)
    blocks = [*writer.definitions(), *names.table(), fill(BUILD, weights=names.separated)]
    for name in losses:
        blocks.append(_loss(writer, name, has_state="initial_state" in programs))
    if "initial_state" in programs:
        state = writer.outputs("initial_state")
        blocks.append(fill(INITIAL, body=state.lines, state=record(state.values)))
    if spec.get("ema"):
        blocks += [_follows(writer, spec), fill(FOLLOW)]
    blocks += _step(writer, spec, names) if len(losses) == 1 else _players(writer, spec, losses, names)
    if "evaluate" in programs:
        *body, terms = writer.loss_lines("evaluate")
        blocks.append(fill(EVALUATE, body=body, terms=terms))
    if "scores" in programs:
        blocks.append(_rows(writer, "scores", "Return the scores of each row of a batch."))
    lengths = [len(chain.calls) for chains in writer.writer.scanned.values() for chain in chains]
    return Emitted(join_module(title(spec, "JAX"), blocks, writer.dialect), writer.models.slots, lengths)


class Names:
    """How the arrays of weights are named: by the path of a weight, or of those of equal blocks that are one array."""

    def __init__(self, writer: StageWriter, spec: Mapping[str, Any]) -> None:
        follows = followings(writer.models, spec.get("ema") or ()) if writer.dialect.scans else ()
        self.stacks = plan_stacks(writer, spec, follows) if writer.dialect.scans else []
        self._paths = dict(reversed(writer.models.slots))
        self._stacked = {path: name for name, parts in parts_of(self.stacks) for path in parts}

    @property
    def separated(self) -> str:
        """The weights that `build` is given, each by its path."""
        return "(separate(named, STACKS) for named in weights)" if self.stacks else "weights"

    def table(self) -> list[list[str]]:
        """The table of stacks as a block, if there are any."""
        comment = "# weights of equal blocks that are one array each: the blocks, from one to another, and their names"
        rows = [
            f"({quoted(place)}, {start}, {stop}, ({', '.join(map(quoted, names))}{',' * (len(names) == 1)})),"
            for place, start, stop, names in self.stacks
        ]
        return [[comment, "STACKS = (", *indented(rows), ")"]] if rows else []

    def of(self, slots: Iterable[int]) -> list[str]:
        """The names of the arrays that hold these slots."""
        return list(dict.fromkeys(self._stacked.get(self._paths[slot], self._paths[slot]) for slot in slots))


def emit_rows(spec: Mapping[str, Any], numerics: Numerics = PORTABLE) -> Emitted:
    """The module of a stage that runs a row program."""
    writer = StageWriter(DIALECT.of(numerics), row_programs(spec))
    blocks = writer.definitions()
    if writer.models.roots:
        blocks.append(fill(BUILD, weights="weights"))
    blocks.append(_rows(writer, "rows", "Return the outputs for each row of a batch."))
    return Emitted(join_module(title(spec, "JAX"), blocks, writer.dialect), writer.models.slots)


def _rows(writer: StageWriter, name: str, doc: str) -> list[str]:
    outputs = writer.outputs(name)
    models = "Models" if writer.models.roots else "object"
    return fill(ROWS, name=name, doc=doc, models=models, body=outputs.lines, outputs=record(outputs.values))


def _loss(writer: StageWriter, name: str, *, has_state: bool) -> list[str]:
    *body, terms = writer.loss_lines(name)
    if not has_state:
        pieces = {"state": "", "type": "dict[str, Array]", "summary": "and its terms"}
    else:
        both = "tuple[dict[str, Array], dict[str, Array]]"
        pieces = {"state": f"{STATE} ", "type": both, "summary": "its terms and the next state"}
        terms = f"({terms}, {writer.next_state(name)})"
    return fill(LOSS, name=name, body=body, terms=terms, **pieces)


def _follows(writer: StageWriter, spec: Mapping[str, Any]) -> list[str]:
    """The table of slow copies by the paths of modules or of single weights."""
    rows = [
        f'("{found.slow.path}", "{found.followed.path}", {found.decay!r}),'
        for found in followings(writer.models, spec["ema"])
    ]
    comment = "# a slow copy, what it follows, and the share of it that a step keeps"
    return [comment, f"FOLLOWS = ({rows[0]})"] if len(rows) == 1 else [comment, "FOLLOWS = (", *indented(rows), ")"]


def _step(writer: StageWriter, spec: Mapping[str, Any], names: Names) -> list[list[str]]:
    table, made = _optimizer(names, spec["steps"][0], "GROUPS")
    pieces = _carried(spec, "optax.OptState") | {"clip": _clip(spec), "apply": None}
    statistics = _statistics(writer, spec)
    pieces["learned"] = "learned(params)" if statistics else "params"
    pieces["updated"] = f"optax.apply_updates({pieces['learned']}, updates)"
    weights = ["params", *(["slow"] if spec.get("ema") else []), "rest"]
    pieces["grads"] = _gradients(spec, "params", weights)
    if statistics:
        table = [*table, *statistics, fill(LEARNED)]
        pieces["grads"] = _tracked(spec, ["params | own", *weights[1:]], "learned(params)")
        pieces["updated"] = f"params | {pieces['updated']} | statistics"
    if spec.get("ema"):
        pieces |= {"apply": f"params = {pieces['updated']}", "updated": FOLLOWED}
    init = fill(INIT, learned=pieces["learned"])
    return [*table, fill(OPTIMIZER, name="optimizer", whose="", made=made), init, fill(STEP, **pieces)]


def _gradients(spec: Mapping[str, Any], name: str, weights: Sequence[str]) -> list[str]:
    """The statement for the gradients by the weights called `name`."""
    given, aux = ("state, ", "(terms, state)") if spec.get("state") else ("", "terms")
    least = least_parts(spec)
    loss = f"loss(build({', '.join(weights)}), {'part' if least > 1 else 'batch'}, {given}key)"
    gradients = f"jax.grad(lambda {name}: {loss}, has_aux=True)({name})"
    if least > 1:
        inner = ["def gradients(part: dict[str, Array], key: Array) -> Any:", f"    return {gradients}"]
        return ["", *inner, "", f"grads, terms = accumulated(gradients, batch, key, {least}, random.fold)"]
    return [f"grads, {aux} = {gradients}"]


def _tracked(spec: Mapping[str, Any], weights: Sequence[str], learned: str) -> list[str]:
    """The statements for the gradients and the statistics that the loss has updated."""
    given, aux = ("state, ", "(terms, state)") if spec.get("state") else ("", "terms")
    inner = fill(TRACKED, weights=", ".join(weights), given=given)
    return [*inner, "", f"grads, ({aux}, statistics) = jax.grad(tracked, has_aux=True)({learned})"]


def _statistics(writer: StageWriter, spec: Mapping[str, Any]) -> list[list[str]]:
    """The table of the paths of batch statistics as a block, if there are any."""
    paths = dict(reversed(writer.models.slots))
    found = [f'"{path}",' for slot, path in sorted(paths.items()) if spec["slots"][slot].get("running")]
    comment = "# what calls of the models update, rather than the optimizer"
    return [[comment, "STATISTICS = (", *indented(found), ")"]] if found else []


def _optimizer(names: Names, step: Mapping[str, Any], name: str) -> tuple[list[list[str]], str]:
    """The table of a player's groups as a block, if it has any, and the expression that makes its optimizer."""
    optimizer = step["optimizer"]
    if not optimizer.get("groups"):
        return [], optax_optimizer(optimizer)
    rows = [
        f'"{weight}": "group_{number}",'
        for number, group in enumerate(optimizer["groups"])
        for weight in names.of(group["slots"])
    ]
    comment = "# the group of each weight that does not learn as the rest does"
    return [[comment, f"{name} = {{", *indented(rows), "}"]], optax_groups(optimizer, name)


def _carried(spec: Mapping[str, Any], opt_state: str) -> dict[str, str | list[str] | None]:
    """The pieces of a step that say what goes from step to step, and what a batch is."""
    ema, state, clock, streams = bool(spec.get("ema")), bool(spec.get("state")), reads_clock(spec), has_streams(spec)
    changed = "what has changed and" if ema or state else "them, the new `opt_state` and"
    rows = 'index[name.partition(".")[0]]' if streams else "index"
    positions = [0, *([1] if ema else []), 2 + ema, *([3 + ema] if state else [])]
    return {
        "slow": "slow: dict[str, Array]," if ema else None,
        "state": STATE if state else None,
        "clock": "clock: dict[str, Array]," if clock else None,
        "index": "dict[str, Array]" if streams else "Array",
        "donated": ", ".join(map(str, positions)),
        "batch": f"{{name: column[{rows}] for name, column in data.items()}}{' | clock' if clock else ''}",
        "types": f"{'dict[str, Array], ' if ema else ''}{opt_state}, {'dict[str, Array], ' if state else ''}",
        "carried": "dict[str, Array], " if state else "",
        "summary": f"{changed} the loss terms",
        "given": "state, " if state else "",
        "next": "state, " if state else "",
    }


def _clip(spec: Mapping[str, Any]) -> list[str] | None:
    """Scale the gradients down as torch does: the norm is kept away from 0 by 1e-6."""
    if spec.get("clip") is None:
        return None
    return [
        f"scale = jnp.minimum(1.0, {spec['clip']!r} / (optax.tree.norm(grads) + 1e-6))",
        "grads = jax.tree.map(lambda grad: scale * grad, grads)",
    ]


def _players(writer: StageWriter, spec: Mapping[str, Any], losses: Sequence[str], names: Names) -> list[list[str]]:
    blocks, table = [], ["PLAYERS = ("]
    for number, (loss, step) in enumerate(zip(losses, spec["steps"], strict=True)):
        name = f"optimizer_{number}"
        groups, made = _optimizer(names, step, f"GROUPS_{number}")
        blocks += groups
        blocks.append(fill(OPTIMIZER, name=name, whose=f" of player {number}", made=made))
        weights = names.of(step["update"])
        texts = "".join(f'"{weight}", ' for weight in weights)
        table.append(f"    ({loss}, {name}, ({texts.rstrip() if len(weights) == 1 else texts.rstrip(', ')})),")
    statistics = _statistics(writer, spec)
    blocks += statistics
    pieces = _carried(spec, "tuple[optax.OptState, ...]") | {"clip": _clip(spec)}
    pieces["tracked"] = " | statistics" if statistics else ""
    weights = ["params | own", "rest"]
    pieces["grads"] = _tracked(spec, weights, "own") if statistics else _gradients(spec, "own", weights)
    pieces["updated"], pieces["frozen"] = (FOLLOWED, "slow | rest") if spec.get("ema") else ("params", "rest")
    pieces["rest"] = f"{pieces['given']}batch, own, lr"
    return [*blocks, [*table, ")"], fill(PLAYERS_INIT), fill(UPDATE, **pieces), fill(PLAYERS, **pieces)]
