from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from etude.backends.numpy.fresh import fans, fresh_weight

STRUCTURE = "9f86d081884c7d65"
LARGE = (64, 2048)
GOLDEN = {
    "lecun_normal": [0.5342609, -0.4199074, -0.28071001, 0.48831674],
    "xavier_uniform": [0.7691028, -0.02873063, 0.43915337, -0.1992325],
}


def draw(kind: str, shape: tuple[int, ...] = LARGE, **numbers: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    settings = {name: numbers.pop(name) for name in ("structure", "seed", "ordinal") if name in numbers}
    origin = {"structure": STRUCTURE, "seed": 3, "ordinal": 1} | settings
    return fresh_weight(shape, {"kind": kind, **numbers}, **origin)


def mix(x: int) -> int:
    """The finalizer, in Python integers."""
    x ^= x >> 16
    x = x * 0x21F0AAAD & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x735A2D97 & 0xFFFFFFFF
    return x ^ x >> 15


def fold(key: int, number: int) -> int:
    return mix(key ^ mix(number + 0x9E3779B9 & 0xFFFFFFFF))


def uniform(key: int, position: int) -> float:
    return (mix(mix(position ^ key) + key & 0xFFFFFFFF) >> 8) * 2.0**-24


def normal(key: int, position: int) -> float:
    first, second = uniform(fold(key, 0), position), uniform(fold(key, 1), position)
    return math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)


def test_fresh_numbers_follow_their_definition() -> None:
    key = fold(fold(fold(0, 0x9F86D081), 3), 1)

    normals = draw("normal", (5, 7), std=0.02).reshape(-1)
    uniforms = draw("uniform", (5, 7), low=-1.0, high=3.0).reshape(-1)

    np.testing.assert_allclose(normals, [0.02 * normal(key, p) for p in range(35)], rtol=1e-6)
    np.testing.assert_array_equal(uniforms, np.array([4.0 * uniform(key, p) - 1.0 for p in range(35)], np.float32))


def test_fresh_numbers_are_what_they_always_were() -> None:
    np.testing.assert_allclose(draw("lecun_normal", (4, 1))[:, 0], GOLDEN["lecun_normal"], rtol=1e-6)
    np.testing.assert_allclose(draw("xavier_uniform", (4, 1))[:, 0], GOLDEN["xavier_uniform"], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "deviation"),
    [
        ("lecun_normal", math.sqrt(1 / 64)),
        ("he_normal", math.sqrt(2 / 64)),
        ("xavier_normal", math.sqrt(2 / (64 + 2048))),
        ("lecun_uniform", math.sqrt(1 / 64)),
        ("he_uniform", math.sqrt(2 / 64)),
        ("xavier_uniform", math.sqrt(2 / (64 + 2048))),
    ],
)
def test_an_initializer_has_the_deviation_of_its_paper(kind: str, deviation: float) -> None:
    weight = draw(kind)

    assert weight.std() == pytest.approx(deviation, rel=0.01)
    assert abs(weight.mean()) < 0.01 * deviation
    if kind.endswith("uniform"):
        assert np.abs(weight).max() == pytest.approx(math.sqrt(3) * deviation, rel=1e-3)


def test_normal_numbers_have_the_tails_of_a_normal_distribution() -> None:
    weight = draw("normal", std=1.0)

    assert [float((np.abs(weight) < bound).mean()) for bound in (1, 2, 3)] == pytest.approx(
        [0.6827, 0.9545, 0.9973], abs=0.003
    )


def test_the_fans_of_a_convolution_count_its_receptive_field() -> None:
    assert fans((3, 3, 16, 32)) == (144, 288)
    assert draw("lecun_normal", (3, 3, 64, 256)).std() == pytest.approx(math.sqrt(1 / (9 * 64)), rel=0.01)


def test_constants_need_no_draw() -> None:
    assert draw("zeros", (2,)).tolist() == [0.0, 0.0]
    assert draw("ones", (2,)).tolist() == [1.0, 1.0]
    assert draw("constant", (2,), value=0.5).tolist() == [0.5, 0.5]


def test_a_scalar_weight_is_a_scalar() -> None:
    assert draw("normal", (), std=1.0).shape == ()


@pytest.mark.parametrize("other", [{"structure": "9f86d080884c7d65"}, {"seed": 4}, {"ordinal": 2}])
def test_structure_seed_and_ordinal_each_give_other_numbers(other: dict[str, Any]) -> None:
    correlation = np.corrcoef(draw("normal", std=1.0).ravel(), draw("normal", std=1.0, **other).ravel())[0, 1]

    assert abs(correlation) < 0.01


def test_the_same_origin_gives_the_same_numbers() -> None:
    np.testing.assert_array_equal(draw("he_normal"), draw("he_normal"))


def test_weights_are_float32() -> None:
    assert {draw(kind, (2, 2)).dtype for kind in ("zeros", "lecun_normal", "xavier_uniform")} == {np.dtype(np.float32)}
