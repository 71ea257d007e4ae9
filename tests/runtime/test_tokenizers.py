"""Tokenizers: the same bytes in every process, what they make of texts, and how rows of tokens are kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.runtime.stages.pack import packed
from etude.runtime.stages.tokenize import padded
from etude.runtime.tokenizers import EOS, MASK, PAD, SPECIAL, decoded, encoded, fitted, library
from etude.runtime.tokens import as_ids, as_text
from etude.runtime.unigram import best_pieces, pieces_of

ALGORITHMS = ("bpe", "wordpiece", "unigram", "char", "words")
TEXTS = [f"def function_{i}(x: int) -> int:\n    return {i} * x + größe  # {'again ' * (i % 4)}" for i in range(60)]
FIT = """
import hashlib, sys
from etude.runtime.tokenizers import fitted
texts = [f"def function_{i}(x: int) -> int:\\n    return {i} * x + größe  # {'again ' * (i % 4)}" for i in range(60)]
for name in sys.argv[1:]:
    print(name, hashlib.sha256(fitted(name, 300, lambda: texts).encode()).hexdigest())
"""


def made(algorithm: str, vocab: int = 300, *, lowercase: bool = False) -> object:
    return library().Tokenizer.from_str(fitted(algorithm, vocab, lambda: TEXTS, lowercase=lowercase))


def test_each_process_fits_the_same_tokenizers_whatever_its_threads() -> None:
    here = {name: hashlib.sha256(fitted(name, 300, lambda: TEXTS).encode()).hexdigest() for name in ALGORITHMS}
    for threads in ("1", "4"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", FIT, *ALGORITHMS]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        assert dict(line.split() for line in done.stdout.splitlines()) == here


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "bytes"])
def test_special_tokens_come_first_and_there_are_no_more_tokens_than_declared(algorithm: str) -> None:
    tokenizer = made(algorithm)
    vocabulary = tokenizer.get_vocab()  # type: ignore[attr-defined]
    assert [vocabulary[token] for token in SPECIAL] == list(range(len(SPECIAL)))
    assert len(SPECIAL) < len(vocabulary) <= 300
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    ids = encoded(tokenizer, ["def x", "日本", ""])
    assert ids[2] == [] and all(0 <= id < 300 for row in ids for id in row)


@pytest.mark.parametrize("algorithm", ["bpe", "bytes", "char"])
def test_texts_come_back_as_they_were(algorithm: str) -> None:
    tokenizer = made(algorithm)
    for text, ids in zip(TEXTS, encoded(tokenizer, TEXTS), strict=True):
        assert decoded(tokenizer, ids, EOS) == text


@pytest.mark.parametrize("algorithm", ["wordpiece", "unigram", "words"])
def test_words_come_back(algorithm: str) -> None:
    tokenizer = made(algorithm, lowercase=True)
    (ids,) = encoded(tokenizer, ["Def Return INT"])
    assert decoded(tokenizer, ids, EOS) == "def return int"


def test_a_text_cannot_hold_special_tokens() -> None:
    for algorithm in (*ALGORITHMS, "bytes"):
        (ids,) = encoded(made(algorithm), ["x <mask token> <pad token>"])
        assert PAD not in ids and MASK not in ids


def test_decoding_ends_at_the_first_end_and_skips_what_is_no_text() -> None:
    tokenizer = made("bytes")
    (ids,) = encoded(tokenizer, ["ab"])
    assert decoded(tokenizer, [PAD, MASK, *ids, 299, EOS, *ids], EOS) == "ab"


@given(st.lists(st.integers(0, 200_000), max_size=50))
@settings(deadline=None)
def test_rows_of_tokens_are_kept_as_texts(ids: list[int]) -> None:
    text = as_text(ids)
    assert as_ids(text).tolist() == ids and len(text) == len(ids)
    text.encode()  # no half of a character


def test_a_row_is_filled_up_or_cut() -> None:
    ids, mask = padded([[7, 8], [5, 6, 7, 8]], 3)
    assert ids.tolist() == [[7, 8, PAD], [5, 6, 7]]
    assert mask.tolist() == [[True, True, False], [True, True, True]]


@given(st.lists(st.lists(st.integers(5, 99), max_size=12), max_size=12), st.integers(1, 7))
@settings(deadline=None)
def test_packed_rows_hold_all_tokens_in_order_but_the_last_few(rows: list[list[int]], length: int) -> None:
    found = list(packed((np.array(row, np.int32) for row in rows), length, EOS))
    flat = [id for piece in found for row in piece.tolist() for id in row]
    expected = [id for row in rows for id in (*row, EOS)]
    assert flat == expected[: len(expected) // length * length]


def test_unigram_finds_the_parts_that_words_are_made_of() -> None:
    stems = ("play", "work", "jump", "look", "walk", "pour", "melt", "turn", "land", "sign", "paint", "fold")
    words = {first + last: 5 for first in stems for last in ("", "ed", "ing", "s")}
    pieces = dict(pieces_of(words, 36))
    parts = [best_pieces(word, pieces) for word in words]
    assert {"play", "work", "ed"} <= pieces.keys() and sum(map(len, parts)) <= 2 * len(words)
    assert all("".join(found) == word for found, word in zip(parts, words, strict=True))
    assert "".join(best_pieces("unseen!", pieces)) == "unseen!"
    assert sum(np.exp(score) for score in pieces.values()) == pytest.approx(1.0)
