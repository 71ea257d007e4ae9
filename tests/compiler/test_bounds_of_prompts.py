"""Prompts begin as the texts did that a language model was trained on, unless the recipe says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.runtime.compiling import compile_text

RECIPE = """
use std.text
code  = load("python:stdlib", limit = 8)
tok   = bpe(vocab = 300, on = code)
other = char(vocab = 64, on = code)
net   = gpt(300, depth = 1, dim = 8, heads = 2, max_length = 16)
model doubled(inner: Model)(ids) { return 2.0 * inner(ids) }
fn learn(m, d) = pretrain(m, on = d, method = causal_lm(), budget = 2steps)
open   = learn(net, code |> tokenize(tok, length = 16))
closed = learn(net, code |> tokenize(tok, length = 16, bounds = true))
packed = learn(net, code |> tokenize(tok, bounds = true) |> pack(16))
asked  = train(on = code |> map(({text}) => {text, q: "?"}) |> tokenize(tok, length = 8, column = "q", into = "q") |> tokenize(tok, length = 16, column = "text", bounds = true), update = {net: net}) {
  loss   = ({ids, mask, q_mask}) => next_token(net, ids, mask and iota(16) >= sum(int(q_mask)))
  budget = 2steps
}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        ("open", False),
        ("closed", True),
        ("packed", True),
        ("asked.net", True),
        ("learn(closed, code |> tokenize(tok, length = 16))", False),  # the last training counts
        ("learn(open, code |> tokenize(tok, length = 16, bounds = true))", True),
        ("doubled(closed)", True),
        ("average([closed, packed])", True),
        ("net", False),
    ],
)
def test_prompts_begin_as_the_texts_of_the_last_training(model: str, begins: bool) -> None:
    assert bounds_of(f"written = sample_text({model}, tok, length = 16)") is begins


def test_texts_of_another_tokenizer_say_nothing() -> None:
    assert [values("found = has_bounds(closed, tok)"), values("found = has_bounds(closed, other)")] == [True, False]


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_said_counts(wanted: bool) -> None:
    assert bounds_of(f"written = sample_text(closed, tok, length = 16, bounds = {str(wanted).lower()})") is wanted


def values(line: str) -> object:
    """What `found` is in the recipe with one more line."""
    result = compile_text(RECIPE + line, "test.etude", Path())
    assert result.recipe is not None and not result.has_errors, [each.message for each in result.diagnostics]
    return result.recipe.values["found"]


def bounds_of(line: str) -> bool:
    """Whether the prompts of `written` are tokenized with bounds."""
    result = compile_text(RECIPE + line, "test.etude", Path())
    assert result.workflow is not None, [each.message for each in result.diagnostics]
    (stage,) = (s for s in result.workflow.stages.values() if s.kind == "tokenize" and s.name.startswith("written"))
    found = stage.spec["bounds"]
    assert isinstance(found, bool)
    return found
