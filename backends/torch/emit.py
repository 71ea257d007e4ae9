"""Stages as PyTorch source: modules, and functions that train them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.backends.emission import Emitted
from etude.backends.emission.dialect import Dialect
from etude.backends.emission.following import followings
from etude.backends.emission.models import Place, is_module, learning
from etude.backends.emission.optimizers import has_groups, torch_groups, torch_optimizer
from etude.backends.emission.parameters import Argument
from etude.backends.emission.programs import least_parts, row_programs, title, train_programs
from etude.backends.emission.stage import StageWriter, join_module, record
from etude.backends.emission.templates import fill
from etude.backends.numerics import PORTABLE, Numerics
from etude.backends.program.ir import Slot

LOSS = '''
def <name>(models: Models, batch: dict[str, Tensor], <state>key: int) -> tuple[Tensor, dict[str, Tensor]<type>]:
    """Return the loss of a batch, <summary>."""
    <body>
    return total, <terms>
'''
OPTIMIZERS = '''
def optimizers(models: Models) -> <returns>:
    """<doc>"""
    <freeze>
    return <made>
'''
STEP = '''
def step(<parameters>) -> <type>:
    """Update the weights on one batch; return <summary>."""
    <rate>
    optimizer.zero_grad(set_to_none=True)
    <gradients>
    <clip>
    optimizer.step()
    <follow>
    <detached>
    return {name: term.detach() for name, term in terms.items()}<next>
'''
UPDATE = '''
def update(
    models: Models,
    loss: Callable[..., tuple[Tensor, dict[str, Tensor]]],
    optimizer: torch.optim.Optimizer,
    batch: dict[str, Tensor],
    <state>
    key: int,
    lr: float,
) -> <type>:
    """Update the weights of one player; return <summary>."""
    <rate>
    optimizer.zero_grad(set_to_none=True)
    <gradients>
    <clip>
    optimizer.step()
    <detached>
    return {name: term.detach() for name, term in terms.items()}<next>
'''
PLAYERS = '''
def step(
    models: Models,
    optimizers: tuple[torch.optim.Optimizer, ...],
    batch: dict[str, Tensor],
    <state>
    key: int,
    lrs: tuple[float | None, ...],
) -> <type>:
    """Let the players update their weights in turn; one whose learning rate is None rests."""
    terms = {}
    for number, loss in enumerate((<losses>)):
        lr = lrs[number]
        if lr is not None:
            own = random.fold(key, number)
            found<next> = update(models, loss, optimizers[number], batch, <given>own, lr)
            terms |= {f"{number}.{name}": term for name, term in found.items()}
    <follow>
    return terms<next>
'''
EVALUATE = '''
@torch.no_grad()
def evaluate(models: Models, batch: dict[str, Tensor], key: int) -> dict[str, Tensor]:
    """Return the loss of a batch and its terms, with the models in evaluation mode."""
    <body>
    return <terms>
'''
ROWS = '''
@torch.no_grad()
def <name>(models: <models>, batch: dict[str, Tensor], rows: Tensor, key: int) -> dict[str, Tensor]:
    """<doc>"""
    <body>
    return <outputs>
'''
FOLLOW = '''
@torch.no_grad()
def follow(models: Models) -> None:
    """Move the slow copies towards the weights that they follow."""
    <body>
'''
INITIAL = '''
def initial_state(key: int) -> dict[str, Tensor]:
    """Return what the first step is given as the state."""
    <body>
    return <state>
'''
STATE = "state: dict[str, Tensor],"
CLIP = "nn.utils.clip_grad_norm_({}, {!r})"
ONE_GROUP: dict[str, str | list[str] | None] = {
    "rate": 'optimizer.param_groups[0]["lr"] = lr',
    "weights": 'optimizer.param_groups[0]["params"]',
}
GROUPS: dict[str, str | list[str] | None] = {
    "rate": ["for group in optimizer.param_groups:", '    group["lr"] = group.get("scale", 1.0) * lr'],
    "weights": '[weight for group in optimizer.param_groups for weight in group["params"]]',
}


def _parameter(name: str, slot: Slot, shape: Sequence[Argument]) -> str:
    dtype = "" if slot.type.dtype == "float32" else f", dtype=torch.{slot.type.dtype}"
    empty = f"torch.empty({', '.join(map(str, shape)) or '()'}{dtype})"
    is_buffer = slot.running or slot.type.dtype != "float32"  # only floats can have gradients
    return f'self.register_buffer("{name}", {empty})' if is_buffer else f"self.{name} = nn.Parameter({empty})"


DIALECT = Dialect(
    framework="torch",
    array="Tensor",
    key="int",
    module="nn.Module",
    forward="forward",
    setup=("super().__init__()",),
    sequence="nn.ModuleList",
    parameter=_parameter,
)


def emit_train(spec: Mapping[str, Any], numerics: Numerics = PORTABLE) -> Emitted:
    """The module of a train stage."""
    programs = train_programs(spec)
    writer = StageWriter(DIALECT.of(numerics), programs, evaluation=("evaluate", "scores"))
    losses = [name for name in programs if name.startswith("loss")]
    has_state = "initial_state" in programs
    groups = GROUPS if has_groups(spec) else ONE_GROUP
    clip = None if spec.get("clip") is None else CLIP.format(groups["weights"], spec["clip"])
    blocks = writer.definitions()
    for name in losses:
        blocks.append(_loss(writer, name, has_state=has_state))
    if has_state:
        state = writer.outputs("initial_state")
        blocks.append(fill(INITIAL, body=state.lines, state=record(state.values)))
    blocks.append(_optimizers(writer, spec))
    if spec.get("ema"):
        blocks.append(fill(FOLLOW, body=_following(writer, spec)))
    pieces = _carried(has_state=has_state) | groups
    pieces["gradients"] = _gradients(spec, pieces, None if len(losses) == 1 else str(groups["weights"]))
    pieces |= {"clip": clip, "follow": "follow(models)" if spec.get("ema") else None}
    if len(losses) == 1:
        parameters = ["models: Models", "optimizer: torch.optim.Optimizer", "batch: dict[str, Tensor]"]
        parameters += [*([STATE.rstrip(",")] if has_state else []), "key: int", "lr: float"]
        blocks.append(fill(STEP, parameters=", ".join(parameters), **pieces))
    else:
        blocks += [fill(UPDATE, **pieces), fill(PLAYERS, losses=", ".join(losses), **pieces)]
    if "evaluate" in programs:
        *body, terms = writer.loss_lines("evaluate")
        blocks.append(fill(EVALUATE, body=body, terms=terms))
    if "scores" in programs:
        blocks.append(_rows(writer, "scores", "Return the scores of each row of a batch."))
    return Emitted(join_module(title(spec, "PyTorch"), blocks, writer.dialect), writer.models.slots)


def emit_rows(spec: Mapping[str, Any], numerics: Numerics = PORTABLE) -> Emitted:
    """The module of a stage that runs a row program."""
    writer = StageWriter(DIALECT.of(numerics), row_programs(spec))
    blocks = [*writer.definitions(), _rows(writer, "rows", "Return the outputs for each row of a batch.")]
    return Emitted(join_module(title(spec, "PyTorch"), blocks, writer.dialect), writer.models.slots)


def _rows(writer: StageWriter, name: str, doc: str) -> list[str]:
    outputs = writer.outputs(name)
    models = "Models" if writer.models.roots else "object"
    return fill(ROWS, name=name, doc=doc, models=models, body=outputs.lines, outputs=record(outputs.values))


def _loss(writer: StageWriter, name: str, *, has_state: bool) -> list[str]:
    *body, terms = writer.loss_lines(name)
    if not has_state:
        pieces = {"state": "", "type": "", "summary": "and its terms"}
    else:
        pieces = {"state": f"{STATE} ", "type": ", dict[str, Tensor]", "summary": "its terms, and the next state"}
        terms = f"{terms}, {writer.next_state(name)}"
    return fill(LOSS, name=name, body=body, terms=terms, **pieces)


def _gradients(spec: Mapping[str, Any], pieces: Mapping[str, Any], weights: str | None) -> list[str]:
    """The statements for the gradients of a batch, or of its parts one after the other."""
    least = least_parts(spec)
    if least > 1:
        more = "" if weights is None else f", {weights}"
        loss = "lambda part, key: loss(models, part, key)"
        return [f"terms = accumulated({loss}, batch, key, {least}, random.fold{more})"]
    inputs = "" if weights is None else f"inputs={weights}"
    return [f"total, terms{pieces['next']} = loss(models, batch, {pieces['given']}key)", f"total.backward({inputs})"]


def _carried(*, has_state: bool) -> dict[str, str | list[str] | None]:
    """The pieces of a step that say whether a state goes from step to step."""
    terms = "dict[str, Tensor]"
    if not has_state:
        nothing: dict[str, str | list[str] | None] = {"next": "", "given": "", "detached": None}
        return nothing | {"state": None, "type": terms, "summary": "the terms of its loss"}
    return {
        "state": STATE,
        "type": f"tuple[{terms}, {terms}]",
        "summary": "the terms of its loss and the next state",
        "next": ", state",
        "given": "state, ",
        "detached": "state = {name: value.detach() for name, value in state.items()}",
    }


def _following(writer: StageWriter, spec: Mapping[str, Any]) -> list[str]:
    """A statement for each pair of modules, and for all single weights of one decay."""
    lines: list[str] = []
    single: dict[float, list[tuple[str, str]]] = {}
    for found in followings(writer.models, spec["ema"]):
        if found.is_module:
            slow, followed = (
                _tensors(f"models.{place.text}", found.has_running) for place in (found.slow, found.followed)
            )
            lines.append(f"torch._foreach_lerp_({slow}, {followed}, 1 - {found.decay!r})")
        else:
            single.setdefault(found.decay, []).append((f"models.{found.slow.text}", f"models.{found.followed.text}"))
    for decay, pairs in single.items():
        slow, followed = (f"[{', '.join(texts)}]" for texts in zip(*pairs, strict=True))
        lines.append(f"torch._foreach_lerp_({slow}, {followed}, 1 - {decay!r})")
    return lines


def _tensors(module: str, has_running: bool) -> str:
    """All that a module holds: its weights, and with batch statistics those too."""
    return f"[*{module}.parameters(), *{module}.buffers()]" if has_running else f"list({module}.parameters())"


def _optimizers(writer: StageWriter, spec: Mapping[str, Any]) -> list[str]:
    steps = spec["steps"]
    places = [learning(writer.models, set(step["update"])) for step in steps]
    learns_all = len(steps) == 1 and [place.text for place in places[0]] == [
        attribute.text for attribute, _ in writer.models.roots
    ]
    if learns_all and not has_groups(spec):
        made = torch_optimizer(steps[0]["optimizer"], "models.parameters()")
        doc = "Make the optimizer; every weight learns."
        return fill(OPTIMIZERS, returns="torch.optim.Optimizer", doc=doc, freeze=None, made=made)
    learn = dict.fromkeys(f"models.{place.text}.requires_grad_(True)" for found in places for place in found)
    optimizers = [
        torch_optimizer(step["optimizer"], _grouped(writer, step) or _weights(writer, found))
        for step, found in zip(steps, places, strict=True)
    ]
    single = len(steps) == 1
    return fill(
        OPTIMIZERS,
        returns="torch.optim.Optimizer" if single else "tuple[torch.optim.Optimizer, ...]",
        doc="Make the optimizer of what learns, and freeze the rest."
        if single
        else "Make the optimizer of each player, and freeze what nobody updates.",
        freeze=["models.requires_grad_(False)", *learn],
        made=optimizers[0] if single else f"({', '.join(optimizers)})",
    )


def _grouped(writer: StageWriter, step: Mapping[str, Any]) -> str | None:
    """The weights of a player in the groups of its optimizer, if it has any."""
    if not step["optimizer"].get("groups"):
        return None
    groups = [set(group["slots"]) for group in step["optimizer"]["groups"]]
    rest = set(step["update"]).difference(*groups)
    found = [_weights(writer, learning(writer.models, slots)) if slots else "" for slots in (rest, *groups)]
    return torch_groups(step["optimizer"], found)


def _weights(writer: StageWriter, places: Sequence[Place]) -> str:
    """The weights at some places, as an argument of an optimizer."""
    texts = [
        f"*models.{place.text}.parameters()" if is_module(place, writer.models) else f"models.{place.text}"
        for place in places
    ]
    if len(texts) == 1 and texts[0].startswith("*"):
        return texts[0][1:]
    return f"[{', '.join(texts)}]"
