"""Metrics of texts and of sequences of tokens: BLEU, and the distance in edits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from etude.runtime.arrays import Array

Tokens = Sequence[Any]


def bleu(predictions: Array, references: Array, order: int, pad: int) -> float | None:
    """BLEU of a corpus with one reference a row (Papineni et al. 2002): n-grams up to `order`, words of texts."""
    hits, counts = np.zeros(order), np.zeros(order)
    said = meant = 0
    for guess, truth in _pairs(predictions, references, pad, by_words=True):
        said, meant = said + len(guess), meant + len(truth)
        for n in range(order):
            mine, theirs = _ngrams(guess, n + 1), _ngrams(truth, n + 1)
            hits[n] += (mine & theirs).total()
            counts[n] += mine.total()
    if not meant or not said:
        return None if not meant else 0.0
    if not hits.all():
        return 0.0
    brevity = min(1.0, math.exp(1 - meant / said))
    return brevity * math.exp(float(np.mean(np.log(hits / counts))))


def edit_distance(predictions: Array, references: Array, pad: int) -> float | None:
    """Insertions, deletions and replacements (Levenshtein 1966), by the length of all references."""
    edits = length = 0
    for guess, truth in _pairs(predictions, references, pad, by_words=False):
        edits, length = edits + _edits(guess, truth), length + len(truth)
    return edits / length if length else None


def _pairs(predictions: Array, references: Array, pad: int, *, by_words: bool) -> Iterator[tuple[Tokens, Tokens]]:
    for pair in zip(predictions, references, strict=True):
        guess, truth = (_tokens(each, pad, by_words=by_words) for each in pair)
        yield guess, truth


def _tokens(value: Any, pad: int, *, by_words: bool) -> Tokens:
    """The words or letters of a text; a row of numbers without its padding."""
    if isinstance(value, str):
        return value.split() if by_words else value
    return [int(token) for token in np.atleast_1d(value) if token != pad]


def _ngrams(tokens: Tokens, length: int) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1))


def _edits(guess: Tokens, truth: Tokens) -> int:
    """
    >>> _edits("kitten", "sitting")
    3
    """
    row = list(range(len(truth) + 1))
    for i, token in enumerate(guess, 1):
        above, row = row, [i]
        for j, other in enumerate(truth, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (token != other)))
    return row[-1]
