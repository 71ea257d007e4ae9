"""The loops of scripts: plain code around the functions of an emitted step."""

from __future__ import annotations

from collections.abc import Sequence

from etude.backends.eject import About
from etude.backends.eject.settings import LoopSettings, tuple_text
from etude.backends.eject.templates import (
    DRAWN,
    EASIEST,
    JAX,
    JAX_SCORED,
    JAX_VALID,
    MARK,
    MEANS,
    PASSES,
    PREPARE,
    ROUNDS,
    SCHEDULED,
    SHARED,
    TOGETHER,
    TORCH,
    TORCH_PARTS,
    TORCH_SCORED,
    TORCH_VALID,
)
from etude.backends.emission.templates import fill

FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}
WIDTH = 120


def loop_text(backend: str, settings: LoopSettings, about: About) -> str:
    """The module of the loop: `main` and what it calls, where the emitted step's names are taken as given."""
    is_torch = backend == "torch"
    pieces = {
        "validate": _validate(settings, is_torch) if settings.has_valid else None,
        "prepare": _prepare(settings, is_torch),
        "batches": _batches(settings),
        "clock": _clock(settings, is_torch) if settings.reads_clock else None,
        "rate": _rate(settings, is_torch),
        "step": _torch_step(settings) if is_torch else _jax_step(settings),
        "mark": _mark(settings, is_torch),
        "finish": [
            f"{'kept = kept or' if settings.keeps_best else 'kept ='} {_current(settings, is_torch)}",
            'np.savez(FOLDER / "weights.npz", **kept)',
        ],
    }
    if is_torch:
        learned = 'tensors(arrays, "learned")'
        learned += ' | tensors(arrays, "slow")' if settings.has_slow else ""
        main = fill(TORCH, **pieces, learned=learned, gather=_torch_gather(settings))
    else:
        platform = 'jax.config.update("jax_platforms", "cpu")' if about.device == "cpu" else None
        slow = 'slow = on_device(arrays, "slow")' if settings.has_slow else None
        main = fill(JAX, **pieces, platform=platform, slow=slow)
    return "\n".join([*_shared(settings, about, is_torch), *main, ""])


def _shared(settings: LoopSettings, about: About, is_torch: bool) -> list[str]:
    several = len(settings.rates) > 1
    constants = [
        "FOLDER = pathlib.Path(__file__).parent",
        *([f'DEVICE = "{about.device}"'] if is_torch else []),
        f"THREADS = {about.threads}  # another number sums in another order",
        f"BATCH = {settings.batch}  # rows of a step",
        *_seeds(settings),
        f"KEY = 0x{settings.key:08X}  # that all draws come from",
        f"RATES = {tuple_text(settings.rates)}  # of each player" if several else f"RATE = {settings.rates[0]!r}",
        *([f"TURNS = {tuple_text(settings.turns)}  # a player moves each so many steps"] if several else []),
        *_listed("COLUMNS = ", "()", [f'"{column}"' for column in settings.columns]),
        *(_listed("TERMS = ", "{}", _terms(settings)) if settings.terms else []),
    ]
    return fill(
        SHARED,
        constants=constants,
        cycle="from etude.backends.schedules import one_cycle" if settings.decay.startswith("one_cycle") else None,
        rounds=_rounds(settings) if _round_arguments(settings) else None,
        **_passes(settings),
        together=["", *fill(TOGETHER)] if settings.streams else None,
        passes=[*fill(PASSES), "", ""] if settings.has_valid else None,
        found=MEANS[several],
        scheduled=_scheduled(settings) if settings.has_schedule else None,
        renamed="found = {TERMS.get(name, name): value for name, value in found.items()}" if settings.terms else None,
    )


def _round_arguments(settings: LoopSettings) -> dict[str, str]:
    """What rounds are told by, where they are not just passes over the rows: parameters, and what they are given."""
    if settings.curriculum is not None:
        return {"arrays: Any": "arrays", "steps: int": "steps"}
    return {"arrays: Any": "arrays"} if settings.is_weighted else {}


def _batches(settings: LoopSettings) -> str:
    if settings.streams:
        return "batches_together(ids, size)"
    return ", ".join(['batches(arrays["ids"], size', *_round_arguments(settings).values()]) + ")"


def _passes(settings: LoopSettings) -> dict[str, str]:
    """The pieces of `batches`: what it is told, and the passes over the rows that it cuts."""
    more = _round_arguments(settings)
    if more:
        names = ", ".join(["ids", "size", *(each.partition(":")[0] for each in more)])
        return {"batches_arguments": f", {', '.join(more)}", "passes_are": "rounds", "ahead": f"rounds({names})"}
    seed = "seed" if settings.streams else "SEED"
    ahead = f"epoch_order(ids, {seed}, epoch) for epoch in count()"
    return {
        "batches_arguments": ", seed: int" if settings.streams else "",
        "passes_are": "epochs",
        "ahead": ahead,
    }


def _rounds(settings: LoopSettings) -> list[str]:
    which, how = "the rows", "in an order of its own"
    easy, rows = None, ["rows = np.arange(len(ids))"]
    if settings.curriculum is not None:
        start, until, power = settings.curriculum
        done = f"min(1.0, start // size / max(1, steps) / {until!r})" if until else "1.0"
        easy = 'easy, start = arrays["easy"], 0'
        which = "the easiest rows so far"
        rows = fill(EASIEST, done=done, start=f"{start!r}**{power!r}", power=repr(power))
    drawn = ["yield rows[epoch_order(ids[rows], SEED, number)]"]
    if settings.is_weighted:
        drawn, how = fill(DRAWN), "each as often as its share of the weights says"
    doc = f"Rounds of {which}, {how}."
    parameters = ", ".join(_round_arguments(settings))
    return [*fill(ROUNDS, parameters=parameters, doc=doc, easy=easy, rows=rows, drawn=drawn), "", ""]


def _scheduled(settings: LoopSettings) -> list[str]:
    is_constant = settings.decay == "1.0"
    rest = f"{settings.final!r} + {1.0 - settings.final!r} * " if settings.final else ""
    decay = f"({settings.decay})" if rest else settings.decay
    progress = None if is_constant else "progress = (step - warmup) / max(1, steps - warmup)"
    return [*fill(SCHEDULED, progress=progress, factor="1.0" if is_constant else f"{rest}{decay}"), "", ""]


def _seeds(settings: LoopSettings) -> list[str]:
    if not settings.streams:
        return [f"SEED = {settings.seed}  # of the order of rows"]
    entries = [f'"{name}": 0x{seed:08X}' for name, seed in settings.streams.items()]
    return ["# Of the order of rows, by data set.", *_listed("SEEDS = ", "{}", entries)]


def _terms(settings: LoopSettings) -> list[str]:
    return [f'"{term}": "{shown}"' for term, shown in settings.terms.items()]


def _listed(start: str, brackets: str, entries: Sequence[str]) -> list[str]:
    """A tuple or a dictionary in one line, or in a line for each entry."""
    line = f"{start}{brackets[0]}{', '.join(entries)}{brackets[1]}"
    if len(line) <= WIDTH:
        return [line]
    return [f"{start}{brackets[0]}", *(f"    {entry}," for entry in entries), brackets[1]]


def _validate(settings: LoopSettings, is_torch: bool) -> list[str]:
    scored = (TORCH_SCORED if is_torch else JAX_SCORED) if settings.has_scores else {}
    means = "{name: value / len(rows) for name, value in sums.items()}"
    result = f"{means} | {{name: {scored['values']} for name, values in scored.items()}}" if scored else means
    if len(f"    return {result}") > WIDTH:
        result = means + " | {\n        name: " + str(scored["values"]) + " for name, values in scored.items()\n    }"
    has_clock, score = settings.valid_reads_clock, list(scored.get("score", ()))
    pieces = {"scored": scored.get("scored"), "score": score, "result": result}
    pieces |= {"clock": ", clock: Any" if has_clock else "", "with_clock": " | clock" if has_clock else ""}
    if is_torch:
        pieces |= {"part": TORCH_PARTS[settings.validates_streams]}
        pieces["score"] = (
            [line.replace("rows[part]", "rows[index]") for line in score] if settings.validates_streams else score
        )
        pieces |= {"taken": "index" if settings.validates_streams else "rows[part]"}
    else:
        pieces |= {"index": "index % len(column)" if settings.validates_streams else "index"}
        pieces |= {"more": "clock: Any, " if has_clock else "", "given": "clock, " if has_clock else ""}
        pieces["score"] = [line.replace("<given>", "{}, " if has_clock else "") for line in score]
    template = TORCH_VALID if is_torch else JAX_VALID
    return ["", "", *fill(template, **pieces)]


def _current(settings: LoopSettings, is_torch: bool) -> str:
    """The weights that are learned, as numpy arrays by path, as they are now."""
    if is_torch:
        return "{path: weight.detach().cpu().numpy().copy() for path, weight in weights.items()}"
    params = "(params | slow)" if settings.has_slow else "params"
    return f"{{path: np.array(weight) for path, weight in {params}.items()}}"


def _prepare(settings: LoopSettings, is_torch: bool) -> list[str]:
    held_out = f'held_out = {"tensors" if is_torch else "on_device"}(arrays, "valid")' if settings.has_valid else None
    kept: list[str] = []
    if settings.judged_by:
        kept = ["best, waited = -math.inf, 0"]
    if settings.keeps_best:
        kept += ["kept: dict[str, Any] = {}"]
    state = _first_state(settings, is_torch) if settings.state else None
    ids = ['rows = len(arrays["ids"])']
    if settings.streams:
        first = next(iter(settings.streams))
        ids = ['ids = {name: arrays[f"ids/{name}"] for name in SEEDS}', f'rows = len(ids["{first}"])']
    warmup = f"warmup = {settings.warmup}" if settings.has_schedule else None
    kept += [f"marks = {settings.checkpoints}"] if settings.checkpoints else []
    return fill(PREPARE, ids=ids, steps=settings.steps, warmup=warmup, state=state, held_out=held_out, kept=kept)


def _first_state(settings: LoopSettings, is_torch: bool) -> list[str]:
    key = f"0x{settings.initial_key:08X}"
    made = "torch.as_tensor({}, dtype=torch.{}, device=DEVICE)" if is_torch else "jnp.array({}, jnp.{})"
    sources = {
        name: f'arrays["state/{name}"]' if name in settings.given else f'first["{name}"]' for name in settings.state
    }
    entries = [f'    "{name}": {made.format(sources[name], dtype)},' for name, dtype in settings.state.items()]
    return [f"first = initial_state({key if is_torch else f'np.uint32({key})'})", "state = {", *entries, "}"]


def _clock(settings: LoopSettings, is_torch: bool) -> list[str]:
    """The number of the step and the share that is done, which programs read like columns."""
    if not is_torch:
        return ['clock = {"@step": np.int32(done - 1), "@progress": np.float32((done - 1) / steps)}']
    return [
        "clock = {",
        '    "@step": torch.tensor(done - 1, dtype=torch.int32, device=DEVICE),',
        '    "@progress": torch.tensor((done - 1) / steps, device=DEVICE),',
        "}",
    ]


def _torch_gather(settings: LoopSettings) -> list[str]:
    """The rows of a batch of the columns."""
    if not settings.streams:
        return [
            "chosen = torch.from_numpy(index).to(DEVICE)",
            "batch = {name: column.index_select(0, chosen) for name, column in data.items()}",
        ]
    return [
        "chosen = {name: torch.from_numpy(part).to(DEVICE) for name, part in index.items()}",
        'batch = {name: column.index_select(0, chosen[name.partition(".")[0]]) for name, column in data.items()}',
    ]


def _torch_step(settings: LoopSettings) -> list[str]:
    batch = "batch | clock" if settings.step_reads_clock else "batch"
    if not settings.state:
        return [f"terms.append(step(models, optimizer, {batch}, fold(KEY, done - 1), lr))"]
    return [
        f"now, state = step(models, optimizer, {batch}, state, fold(KEY, done - 1), lr)",
        "terms.append(now)",
    ]


def _jax_step(settings: LoopSettings) -> list[str]:
    slow, state = ["slow"] * settings.has_slow, ["state"] * bool(settings.state)
    clock = ["clock"] * settings.step_reads_clock
    results = ", ".join(["params", *slow, "opt_state", *state, "now"])
    lr = "lr" if len(settings.rates) > 1 else "np.float32(lr)"
    index = "rows_at" if settings.streams else "index.astype(np.int32)"
    arguments = ", ".join(["params", *slow, "rest", "opt_state", *state, "data", index, *clock, "key", lr])
    line = f"{results} = step({arguments})"
    call = [line] if len(line) + 8 <= WIDTH else [f"{results} = step(", f"    {arguments}", ")"]
    gather = ["rows_at = {name: part.astype(np.int32) for name, part in index.items()}"] if settings.streams else []
    return [*gather, *call, "terms.append(now)"]


def _rate(settings: LoopSettings, is_torch: bool) -> list[str]:
    if len(settings.rates) == 1:
        return [f"lr = RATE{' * factor(done - 1, steps, warmup)' if settings.has_schedule else ''}"]
    rate = "rate * share" if settings.has_schedule else "rate"
    rate = rate if is_torch else f"np.float32({rate})"
    return [
        *(["share = factor(done - 1, steps, warmup)"] if settings.has_schedule else []),
        "turns = [(done - 1) % turn == 0 for turn in TURNS]",
        f"lr = tuple({rate} if is_on else None for rate, is_on in zip(RATES, turns, strict=True))",
    ]


def _mark(settings: LoopSettings, is_torch: bool) -> list[str]:
    due = validation = stop = None
    marked = " or done in marks" if settings.checkpoints else ""
    is_due = f"(done == steps{marked} or done * size // rows > (done - 1) * size // rows)"
    if settings.has_valid:
        is_due = "(done == steps or passes(done, size, rows))"
        if settings.valid_period != "rows" or settings.checkpoints:
            due = f"is_validated = done == steps or passes(done, size, {settings.valid_period})"
            is_due = f"(is_validated{marked} or passes(done, size, rows))"
        validation = _validation(settings, is_torch)
    if settings.patience is not None:
        stop = [f"if {settings.patience}:", "    break"]
    lr = "lr" if len(settings.rates) == 1 else "RATES[0] * share" if settings.has_schedule else "RATES[0]"
    saved = None
    if settings.checkpoints:
        current = f"    current = {_current(settings, is_torch)}"
        saved = ["if done in marks:", current, '    np.savez(FOLDER / f"weights_{done}.npz", **current)']
    return fill(MARK, saved=saved, due=due, is_due=is_due, validation=validation, stop=stop, lr=lr)


def _validation(settings: LoopSettings, is_torch: bool) -> list[str]:
    weights = "models" if is_torch else "(params, slow, rest)" if settings.has_slow else "(params, rest)"
    clock = ", clock" if settings.valid_reads_clock else ""
    lines = [
        f'found = validate({weights}, held_out, arrays["valid_ids"]{clock})',
        "row |= {f\"valid.{name or 'score'}\": value for name, value in found.items()}",
    ]
    if settings.judged_by is not None:
        kept = [f"    kept = {_current(settings, is_torch)}"] if settings.keeps_best else []
        lines += [
            f"value = {settings.judged_by}",
            "waited += 1",
            "if value > best:",
            "    best, waited = value, 0",
            *kept,
        ]
    is_always = settings.valid_period == "rows" and not settings.checkpoints
    return lines if is_always else ["if is_validated:", *(f"    {line}" for line in lines)]
