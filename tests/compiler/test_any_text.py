"""Recipes with tokens lost, doubled, swapped and exchanged: checking them always ends in diagnostics, never in a trace.

Run it longer by hand: `python tests/compiler/test_any_text.py 5000`.
"""

from __future__ import annotations

import random
import re
import sys
import traceback
from pathlib import Path

import pytest

from etude.compiler import limits
from etude.compiler.diagnostics import Diagnostic
from etude.runtime.compiling import compile_text

FOLDER = Path(__file__).parent / "accepted"
SMALL = sorted(path for path in FOLDER.glob("*.etude") if path.stat().st_size < 1_500)
TOKENS = re.compile(r'"[^"\n]*"|#[^\n]*|[A-Za-z_]\w*|[0-9][\w.]*%?|=>|\|>|>>|\.\.\.?|[=!<>]=|\*\*|//|\s+|.')
WORDS = (
    "0",
    "-1",
    "1..3",
    "none",
    "true",
    "{}",
    "[]",
    '"a"',
    "x => x",
    "10%",
    "3epochs",
    "d",
    "1e300",
    "(",
    "}",
    "...",
)
MUTANTS = 40


def mutated(text: str, source: random.Random, others: list[str]) -> str:
    """A recipe with a few tokens changed."""
    tokens = TOKENS.findall(text)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(tokens))
        kind = source.randrange(5)
        if kind == 0:
            del tokens[at : at + source.randint(1, 3)]
        elif kind == 1:
            tokens.insert(at, tokens[source.randrange(len(tokens))])
        elif kind == 2:
            other = source.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif kind == 3:
            tokens[at] = source.choice(WORDS)
        else:
            tokens[at] = source.choice(others)
        if not tokens:
            return ""
    return "".join(tokens)


def checked(text: str) -> list[Diagnostic]:
    """What checking says of a text."""
    return compile_text(text, "mutant.etude", FOLDER).diagnostics


def mutants(seed: int, count: int) -> list[str]:
    """Changed recipes, the same for a seed."""
    source = random.Random(seed)
    texts = [path.read_text() for path in SMALL]
    others = sorted({token for text in texts for token in TOKENS.findall(text) if not token.isspace()})
    return [mutated(source.choice(texts), source, others) for _ in range(count)]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_changed_recipe_is_accepted_or_refused_and_nothing_else(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STEPS", 50_000)
    for text in mutants(seed, MUTANTS):
        for each in checked(text):
            assert each.message and each.location.span.start <= each.location.span.end


def main() -> int:
    """Check many mutants and show those that end in a trace; 1 when there are some."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    seen: set[str] = set()
    for number, text in enumerate(mutants(int(sys.argv[2]) if len(sys.argv) > 2 else 3, count)):
        try:
            checked(text)
        except Exception:  # whatever a user would see as a trace is what is looked for, and is printed
            trace = traceback.format_exc()
            key = "\n".join(trace.splitlines()[-4:])
            if key not in seen:
                seen.add(key)
                print(f"--- mutant {number}\n{text}\n{trace[-1500:]}", flush=True)
    print(f"{count} mutants, {len(seen)} kinds of traces")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
