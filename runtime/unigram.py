"""The pieces of a unigram tokenizer and their scores, fitted so that equal words always give equal numbers.

Pieces begin as the frequent parts of words. In turn each word is cut into its most likely pieces (hard expectation
maximisation), the pieces are scored by how often they were used, and those are dropped without which the words lose
least of their likelihood (Kudo, 2018).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

LONGEST = 12  # characters of a piece
WORDS = 20_000  # the most frequent words are enough to choose pieces by
SEEDS = 8  # so many times the pieces that are wanted, at the beginning
KEPT = 0.6  # of the pieces after each round
ROUNDS = 12


def pieces_of(counts: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """At most `size` pieces with the logarithms of their probabilities, the likeliest first.

    >>> [piece for piece, _ in pieces_of({"aaab": 9, "aab": 9, "b": 1}, 3)]
    ['aab', 'a', 'b']
    """
    words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:WORDS]
    characters = _most(Counter(_weighted((word, count) for word, count in words)), size)
    alphabet = set(characters)
    room = size - len(characters)
    parts = _parts(words, alphabet)
    longer = _most({part: count * len(part) for part, count in parts.items()}, room * SEEDS)
    scores = _scores({**{c: characters[c] for c in characters}, **{part: parts[part] for part in longer}})
    for _ in range(ROUNDS):
        used: Counter[str] = Counter()
        for word, count in words:
            for piece in best_pieces(word, scores):
                used[piece] += count
        found = {piece: used[piece] for piece in scores if len(piece) > 1 and used[piece]}
        is_last = len(found) <= room
        kept = found if is_last else _needed(found, scores, max(room, int(len(found) * KEPT)))
        scores = _scores({**{c: used[c] for c in characters}, **kept})
        if is_last:
            break
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def _needed(used: Mapping[str, int], scores: Mapping[str, float], size: int) -> dict[str, int]:
    """The pieces without which the words would lose most of their likelihood."""
    losses = {
        piece: count * (scores[piece] - sum(scores.get(part, UNKNOWN) for part in best_pieces(piece, scores, piece)))
        for piece, count in used.items()
    }
    chosen = sorted(losses, key=lambda piece: (-losses[piece], piece))[:size]
    return {piece: used[piece] for piece in chosen}


def best_pieces(word: str, scores: Mapping[str, float], without: str = "") -> list[str]:
    """The most likely pieces of a word (Viterbi, 1967), if need be without one of them; a character that is no piece
    counts as one that is unlikely."""
    best, cut = [0.0], [0]
    for end in range(1, len(word) + 1):
        found, at = -math.inf, end - 1
        for start in range(max(0, end - LONGEST), end):
            piece = word[start:end]
            score = scores.get(piece, UNKNOWN if start == end - 1 else None)
            if score is not None and piece != without and best[start] + score > found:
                found, at = best[start] + score, start
        best.append(found)
        cut.append(at)
    pieces, end = [], len(word)
    while end:
        pieces.append(word[cut[end] : end])
        end = cut[end]
    return pieces[::-1]


UNKNOWN = -100.0


def _weighted(words: Iterable[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word, count in words:
        for character in word:
            found[character] += count
    return found


def _parts(words: Iterable[tuple[str, int]], alphabet: set[str]) -> Counter[str]:
    """How often each part of two characters and more occurs; those that occur once are left out."""
    found: Counter[str] = Counter()
    for word, count in words:
        for start in range(len(word)):
            for end in range(start + 2, min(len(word), start + LONGEST) + 1):
                found[word[start:end]] += count
    return Counter({part: count for part, count in found.items() if count > 1 and alphabet.issuperset(part)})


def _most(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """The pieces with the highest counts; of equal ones the first in the order of their characters."""
    chosen = sorted(counts, key=lambda piece: (-counts[piece], piece))[:size]
    return {piece: counts[piece] for piece in chosen}


def _scores(counts: Mapping[str, int]) -> dict[str, float]:
    """The logarithms of the shares; a piece that was not used counts as used half a time."""
    total = math.fsum(max(count, 0.5) for count in counts.values())
    return {piece: math.log(max(count, 0.5) / total) for piece, count in counts.items()}
