"""Counter-based randomness: the same bits on numpy, PyTorch and JAX, and numbers that look random."""

from __future__ import annotations

import importlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

FRAMEWORKS = ("numpy", "torch", "jax")
KEYS = (0, 1, 12345, 0x80000000, 0xFFFFFFFF)
# Worked out by hand from the definition: `fold(key, n)` and the upper 24 bits of the first words with key 12345.
FOLDED = [340428713, 380648332, 623037842, 1380568112]
UNIFORMS = [[15242968, 11769247, 14782566], [10852572, 6421005, 2779622]]
ROWS = np.array([0, 1, 5, 0x80000001, 0xFFFFFFFF], np.uint32)


def module(framework: str) -> Any:
    return importlib.import_module(f"etude.backends.{framework}.random")


def array(framework: str, value: np.ndarray) -> Any:
    """Words of a framework: PyTorch keeps a uint32 in the bits of an int32."""
    if framework == "torch":
        return torch.from_numpy(value.view(np.int32) if value.dtype == np.uint32 else value)
    return jnp.asarray(value) if framework == "jax" else value


def words(value: Any) -> np.ndarray:
    """Keys as uint32."""
    if isinstance(value, int):
        return np.asarray(value, np.uint32)
    found = np.asarray(value)
    return found.view(np.uint32) if found.dtype == np.int32 else found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_folding_gives_the_words_that_were_written_down(framework: str) -> None:
    fold = module(framework).fold
    assert [int(words(fold(key, n))) for key, n in [(0, 0), (0, 1), (12345, 7), (0xFFFFFFFF, 0xFFFFFFFF)]] == FOLDED


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_uniforms_are_the_ones_that_were_written_down(framework: str) -> None:
    drawn = np.asarray(module(framework).uniform(12345, (2, 3)))
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn * 2**24, UNIFORMS)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4)])
def test_uniforms_are_equal_to_the_last_bit(key: int, shape: tuple[int, ...]) -> None:
    expected = module("numpy").uniform(key, shape)
    for framework in FRAMEWORKS[1:]:
        drawn = np.asarray(module(framework).uniform(key, shape))
        assert (drawn.shape, drawn.dtype) == (shape, np.float32)
        np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_row_sees_the_numbers_of_its_own_key(framework: str) -> None:
    random, numpy = module(framework), module("numpy")
    drawn = np.asarray(random.uniform_rows(77, array(framework, ROWS), (2, 3)))
    alone = [numpy.uniform(numpy.fold(77, int(row)), (2, 3)) for row in ROWS]
    np.testing.assert_array_equal(drawn, np.stack(alone))
    assert np.asarray(random.uniform_rows(77, array(framework, ROWS), ())).shape == ROWS.shape


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_keys_fold_as_arrays_as_they_fold_alone(framework: str) -> None:
    random = module(framework)
    keys = random.fold(random.fold(3, array(framework, ROWS)), 9)
    expected = [module("numpy").fold(module("numpy").fold(3, int(row)), 9) for row in ROWS]
    np.testing.assert_array_equal(words(keys), np.array(expected, np.uint32))


def test_a_traced_key_of_jax_is_an_int_of_the_host() -> None:
    random = module("jax")
    draw = jax.jit(lambda key: random.normal(random.fold(key, 4), (8,)))
    np.testing.assert_allclose(draw(jnp.uint32(0xFFFFFFF0)), random.normal(random.fold(0xFFFFFFF0, 4), (8,)), rtol=1e-5)


def test_a_key_in_a_tensor_of_torch_is_an_int_of_the_host() -> None:
    random = module("torch")
    key = torch.tensor(-16, dtype=torch.int32)
    assert torch.equal(random.uniform(random.fold(key, 4), (8,)), random.uniform(random.fold(0xFFFFFFF0, 4), (8,)))


@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_what_is_computed_from_uniforms_agrees_to_rounding(name: str) -> None:
    expected = getattr(module("numpy"), name)(5, (1000,))
    assert expected.dtype == np.float32
    for framework in FRAMEWORKS[1:]:
        drawn = np.asarray(getattr(module(framework), name)(5, (1000,)))
        np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_uniforms_are_evenly_spread_and_not_correlated(framework: str) -> None:
    drawn = np.asarray(module(framework).uniform(3, (200_000,)), np.float64)
    counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert 40 < chi_square < 180  # 99 degrees of freedom: beyond 6 sigma
    for lag in (1, 2, 3, 64, 1024):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 0.012
    assert drawn.min() >= 0 and drawn.max() < 1


def test_neighbouring_keys_give_draws_without_correlation() -> None:
    random = module("numpy")
    rows = np.stack([random.uniform(random.fold(0, n), (20_000,)) for n in range(8)]).astype(np.float64)
    correlation = np.corrcoef(rows) - np.eye(8)
    assert np.abs(correlation).max() < 0.035
    bits = random.bits(random.fold(0, np.arange(4096, dtype=np.uint32)), (8,))
    ones = np.unpackbits(bits.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.003


def test_normals_have_the_moments_of_the_normal_distribution() -> None:
    drawn = module("numpy").normal(11, (200_000,)).astype(np.float64)
    assert abs(drawn.mean()) < 0.012
    assert abs(drawn.std() - 1) < 0.01
    assert abs((drawn**3).mean()) < 0.04
    assert abs((drawn**4).mean() - 3) < 0.12
    assert abs((np.abs(drawn) < 1).mean() - math.erf(1 / math.sqrt(2))) < 0.006


def test_integers_include_both_ends_and_are_even() -> None:
    drawn = module("numpy").randint(2, 1, 9, (90_000,))
    counts = np.bincount(drawn)
    assert drawn.min() == 1 and drawn.max() == 9
    assert np.abs(counts[1:] - 10_000).max() < 500


def test_classes_come_with_their_probabilities() -> None:
    p = np.array([0.1, 0.2, 0.7])
    drawn = module("numpy").categorical(8, np.broadcast_to(np.log(p), (50_000, 3)).astype(np.float32))
    np.testing.assert_allclose(np.bincount(drawn) / 50_000, p, atol=0.01)


def test_a_permutation_holds_every_number_once_and_differs_by_key() -> None:
    random = module("numpy")
    first, second = random.permutation(1, 1000), random.permutation(2, 1000)
    assert sorted(first) == list(range(1000))
    assert (first == second).mean() < 0.02


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_dropout_keeps_the_mean(framework: str) -> None:
    ones = array(framework, np.ones((1000, 50), np.float32))
    dropped = np.asarray(module(framework).dropout(4, ones, 0.3))
    assert abs(dropped.mean() - 1) < 0.02
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.7], rtol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_shift_moves_the_whole_image_and_brings_in_zeros(framework: str) -> None:
    image = np.arange(1, 31, dtype=np.float32).reshape(5, 6, 1)
    moved = np.asarray(module(framework).random_shift(9, array(framework, np.repeat(image[None], 400, 0)), 2))
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = {padded[i : i + 5, j : j + 6].tobytes() for i in range(5) for j in range(5)}
    seen = {m.tobytes() for m in moved}
    assert seen == windows


def test_a_flip_mirrors_about_half_of_the_images() -> None:
    images = np.broadcast_to(np.arange(3, dtype=np.float32)[:, None], (1000, 2, 3, 1))
    flipped = module("numpy").random_flip(3, images)
    share = (flipped[:, 0, 0, 0] == 2).mean()
    assert abs(share - 0.5) < 0.06
    np.testing.assert_array_equal(flipped[:, :, 1], images[:, :, 1])
