"""Sounds of harmonic tones: a waveform, and which of the notes are heard, one or several.

Note k has the frequency 0.02 * 2^(k / 4) periods a sample, a random phase and loudness, and overtones that fall with
1 / h; the timbre, how strong even overtones are, is random too. Notes are distinct and in random number from 1 to
`most`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import Chunk
from etude.runtime.sources.synthetic import Option

if TYPE_CHECKING:
    import numpy as np

SEMANTICS = 1
OPTIONS: Mapping[str, Option] = {
    "length": Option(256, "the samples of a row", low=16, high=1_000_000),
    "notes": Option(8, "the number of notes there are", low=2, high=16),
    "most": Option(1, "the largest number of notes of a row", low=1, high=16),
    "noise": Option(0.1, "the standard deviation of normal noise on the samples"),
}
OVERTONES = 4


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`wave` float32 [length]; `label` with one note a row, else the target `heard` float32 [notes] of 0 and 1."""
    wave, notes = ColumnSchema("wave", "tensor", "float32", (options["length"],)), options["notes"]
    names = tuple(f"note {note}" for note in range(notes))
    if options["most"] == 1:
        return (wave, ColumnSchema("label", "label", "int32", (), notes, names))
    return (wave, ColumnSchema("heard", "tensor", "float32", (notes,), None, names, True))


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import fold, normal, permutation, randint, uniform

    notes, length = options["notes"], options["length"]
    keys = [fold(fold(key, site), numbers) for site in range(6)]
    order = permutation(keys[0], notes)
    count = randint(keys[1], 1, min(options["most"], notes), ())
    heard = np.zeros((len(numbers), notes), np.float32)
    np.put_along_axis(heard, order, (np.arange(notes) < count[:, np.newaxis]).astype(np.float32), axis=1)
    loudness = heard * (np.float32(0.5) + np.float32(0.5) * uniform(keys[2], (notes,)))
    phase, timbre = uniform(keys[3], (notes,)), uniform(keys[4], ())
    time = np.arange(length, dtype=np.float32)
    wave = np.float32(options["noise"]) * normal(keys[5], (length,))
    for note in range(notes):
        for overtone in range(1, OVERTONES + 1):
            periods = np.float32(0.02 * 2 ** (note / 4) * overtone) * time + phase[:, note, np.newaxis]
            strength = loudness[:, note] / np.float32(overtone) * (timbre if overtone % 2 == 0 else np.float32(1))
            wave = wave + strength[:, np.newaxis] * np.sin(np.float32(2 * np.pi) * (periods % 1))
    target = {"label": order[:, 0].astype(np.int32)} if options["most"] == 1 else {"heard": heard}
    return {"wave": wave.astype(np.float32), **target}
