"""Loops that write place by place compute each place once, where the program shows that this is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etude.backends.emission import programs
from etude.backends.program.decoding import places_written, write_once
from etude.backends.program.ir import HIGHER, Sub, callees
from etude.backends.program.serialize import program_from_json
from etude.runtime.compiling import compile_text

MODELS = """
use std.text
model by_hand(vocab: int, heads: int = 2)(ids) {      # places counted on the fly, keys of one head for all queries
  x    = embed(vocab, 8)(ids) + iota(ids.shape[1])[:, newaxis] / 10
  q    = rearrange(linear(8)(x), "b t (h d) -> b h t d", h = heads)
  k    = repeat_heads(linear(8 // heads)(x), heads)
  seen = attention(q, k, k, causal = true)
  both = concat([rearrange(seen, "b h t d -> b t (h d)"), x[:, :, 0:4]], axis = -1)
  gate = sum(softmax(linear(3)(x)) * linear(3)(x), axis = -1, keep = true)
  return linear(vocab)(rms_norm()(both) * gate)
}
fn repeat_heads(x, heads) = stack([x for _ in 1..heads], axis = 1)
model experts(vocab: int)(ids) {
  x = embed(vocab, 8)(ids)
  a = x + self_attention(2, causal = true)(layer_norm()(x))
  return linear(vocab)(a + mixture_of_experts(3, 8, top = 2)(a).output)
}
model sum_of(one: Model, other: Model)(ids) { return one(ids) - 0.5 * other(ids) }
model ahead(vocab: int)(ids) { return linear(vocab)(embed(vocab, 8)(roll(ids, shift = -1, axis = 1))) }
model recurrent(vocab: int)(ids) { return linear(vocab)(gru(8)(embed(vocab, 8)(ids))) }
model prefix(vocab: int)(ids) { return linear(vocab)(cumsum(embed(vocab, 8)(ids), axis = 1)) }
model late(vocab: int)(ids) {
  x = embed(vocab, 8)(ids)
  q = rearrange(linear(8)(x), "b t (h d) -> b h t d", h = 2)
  return linear(vocab)(rearrange(attention(q, q, flip(q, axis = 2), causal = true), "b h t d -> b t (h d)"))
}

code  = load("python:stdlib", limit = 4)
tok   = bpe(vocab = 280, on = code)
small = gpt(280, depth = 2, dim = 8, heads = 2, max_length = 16)
"""
WRITTEN = 'out = sample_text(reseed(MODEL, 3), tok, prompt = "x", count = 3, length = 9, temperature = 0.9, top_k = 50)'
CAUSAL = {
    "gpt": "small",
    "sines": "transformer(280, depth = 1, dim = 8, heads = 2, causal = true, sines = true) >> linear(280)",
    "two models": "sum_of(small, gpt(280, depth = 1, dim = 4, heads = 1))",
    "own attention": "by_hand(280)",
    "experts": "experts(280)",
}
OTHER = {
    "looks ahead": "ahead(280)",
    "looks both ways": "transformer(280, depth = 1, dim = 8, heads = 2) >> linear(280)",
    "carries a state": "recurrent(280)",
    "adds up": "prefix(280)",
    "values turned round": "late(280)",
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # PyTorch, of attention without caches
@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_model_computes_each_place_once_and_writes_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch, kit: Any
) -> None:
    spec = spec_of(WRITTEN.replace("MODEL", CAUSAL[name]))
    assert longest(spec, write_once) == 1
    once = written(kit, spec)
    monkeypatch.setattr(programs, "write_once", lambda program: program)
    assert once == written(kit, spec)


@pytest.mark.parametrize("name", OTHER)
def test_a_model_for_which_that_is_not_shown_stays_as_it_is(name: str) -> None:
    program = program_from_json(spec_of(WRITTEN.replace("MODEL", OTHER[name]))["program"])
    assert write_once(program) is program


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_several_tries_of_each_row_are_written_once(monkeypatch: pytest.MonkeyPatch, kit: Any) -> None:
    spec = spec_of(
        'out = rows([{text: "x"}, {text: "y"}]) |> tokenize(tok, length = 9) |> map(({ids, mask}) => {\n'
        "  ids: each(iota(3), i => continued(reseed(small, 3), tok, ids, mask))\n})"
    )
    assert places_written(program_from_json(spec["program"]).sub) == 3 * 8
    once = written(kit, spec)
    monkeypatch.setattr(programs, "write_once", lambda program: program)
    assert once == written(kit, spec)
    assert len({tuple(each) for row in once for each in row}) == 9


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ("put = where(iota(9) == place, argmax(logits), state)", "what was read is written"),
        ("put = where(iota(9) == place + 2, argmax(logits), state)", "a place is left out"),
        ("put = where(iota(9) >= place + 1, argmax(logits), state)", "later places are written"),
        ("put = where(iota(9) == place + 1 or state == 0, argmax(logits), state)", "or elsewhere"),
        ("put = roll(where(iota(9) == place + 1, argmax(logits), state), shift = 1)", "all places move"),
        ("put = where(iota(9) == place + 1, argmax(m(state)[0]), state)", "the first place is read"),
        ("put = where(iota(9) == place + 1, argmax(m(where(state > place, 0, state))[place]), state)", "it is moved"),
        ("put = where(iota(9) == place + 1, argmax(m(state * (sum(state) % 2))[place]), state)", "all places count"),
        ("put = where(other == place + 1, argmax(logits), state)", "a number is not the numbers of all places"),
        ("put = where(iota(9) == place + 1, argmax(sum(m(state), axis = 0)), state)", "all places are read"),
    ],
)
def test_a_loop_that_does_not_write_place_by_place_stays_as_it_is(change: str, by: str) -> None:
    assert (
        longest(spec_of(LOOP.replace("CHANGE", "put = where(iota(9) == place + 1, argmax(logits), state)")), write_once)
        == 1
    )
    program = program_from_json(spec_of(LOOP.replace("CHANGE", change))["program"])
    changed = write_once(program)
    assert longest_of(changed.sub) > 1, by


LOOP = """
m   = reseed(small, 3)
out = rows([{text: "x"}]) |> tokenize(tok, length = 9) |> map(({ids}) => {
  found = scan({place: iota(9), other: flip(iota(9), axis = 0)}, from = ids, (state, {place, other}) => {
    logits = m(state)[place]
    CHANGE
    return {next: put, out: place}
  })
  return {ids: found.last}
})
"""


def spec_of(line: str) -> Any:
    """The spec of the stage of a recipe that writes."""
    result = compile_text(MODELS + line, "test.etude", Path())
    assert result.workflow is not None, [each.message for each in result.diagnostics]
    *_, stage = (s for s in result.workflow.stages.values() if s.kind == "map")
    return stage.spec


def longest(spec: Any, change: Any) -> int:
    return longest_of(change(program_from_json(spec["program"])).sub)


def longest_of(sub: Sub) -> int:
    """Of how many places a loop asks its models at once."""
    found = [0]
    for op in sub.ops:
        if op.name in HIGHER:
            found += [longest_of(sub.children[place].sub) for place in callees(op)]
            if op.name == "scan":
                body = sub.children[op.attrs["child"]].sub
                found += [
                    int(str(o.type.shape[1])) for each in body.ops if each.name == "call" for o in each.operands[:1]
                ]
    return max(found)


def written(kit: Any, spec: Any) -> list[Any]:
    """What the stage writes, on PyTorch, with weights that are drawn in the order of the modules."""
    torch = pytest.importorskip("torch")
    from etude.backends.torch.emit import emit_rows

    module = kit.execute(emit_rows(spec))
    models = module.Models()
    torch.manual_seed(0)
    for weight in models.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    ids = torch.zeros(3, 9, dtype=torch.int32)
    ids[:, 0] = torch.tensor([20, 40, 60])
    batch = {"ids": ids, "mask": torch.arange(9).expand(3, 9) < 2}
    found = module.rows(models, batch, torch.arange(3, dtype=torch.int32), 9)["ids"].tolist()
    assert isinstance(found, list)
    return found
