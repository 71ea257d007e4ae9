from __future__ import annotations

import hashlib
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from etude.runtime.sources import SourceError, chunks, describe, find, load, synthetic

HERE = Path()
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("blobs", {"classes": 4, "dim": 3}),
    ("moons", {}),
    ("regression", {}),
    ("regression", {"function": "friedman"}),
    *(("sequences", {"task": task}) for task in ("copy", "reverse", "sort", "sum", "rewrite", "markov")),
    ("molecules", {"noise": 0.1}),
    ("graphs", {}),
    ("graphs", {"label": "planted"}),
    ("shapes", {"most": 3, "channels": 3}),
    ("tones", {}),
    ("tones", {"most": 3}),
]
# The first 50 rows, numbers rounded to three digits: who changes them raises SEMANTICS of the generator.
GOLDEN = {
    "blobs classes=4 dim=3": "1 ae767f0d2e22",
    "moons": "1 24850d9eaef3",
    "regression": "1 c8a1d1240038",
    "regression function=friedman": "1 82ca984a6e75",
    "sequences task=copy": "1 77336ffe53b6",
    "sequences task=reverse": "1 f180e6582aee",
    "sequences task=sort": "1 d0339ddab49d",
    "sequences task=sum": "1 9121afa20b7d",
    "sequences task=rewrite": "1 88969072b78f",
    "sequences task=markov": "1 571910244ed9",
    "molecules noise=0.1": "1 09535e0c842f",
    "graphs": "1 8acfb779921e",
    "graphs label=planted": "1 2f0ae56f8888",
    "shapes most=3 channels=3": "1 2461cabae256",
    "tones": "1 72e8ff67a41b",
    "tones most=3": "1 bcf93563b1b9",
}


def made(name: str, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    return load(f"synthetic:{name}", options, HERE)


def variant_name(variant: tuple[str, dict[str, Any]]) -> str:
    return " ".join([variant[0], *(f"{name}={value}" for name, value in variant[1].items())])


def digest(columns: dict[str, np.ndarray[Any, Any]]) -> str:
    found = hashlib.sha256()
    for name, values in sorted(columns.items()):
        rounded = np.rint(values.astype(np.float64) * 1000).astype(np.int64)
        found.update(name.encode() + rounded.tobytes())
    return found.hexdigest()[:12]


def test_every_generator_is_tried_here() -> None:
    assert {name for name, _ in VARIANTS} == set(synthetic.generators())


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_a_generator_makes_what_its_schema_says(variant: tuple[str, dict[str, Any]]) -> None:
    name, options = variant
    schema, columns = describe(f"synthetic:{name}", {"n": 300, **options}, HERE), made(name, n=300, **options)
    assert schema.rows == 300 and [column.name for column in schema.columns] == list(columns)
    for column in schema.columns:
        values = columns[column.name]
        assert (str(values.dtype), values.shape) == (column.dtype, (300, *column.shape))
        assert np.isfinite(values).all()
        if column.kind == "label":
            counts = np.bincount(values, minlength=column.classes or 0)
            assert len(counts) == column.classes and counts.min() > 300 / len(counts) / 2


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_a_generator_makes_the_numbers_that_it_has_always_made(variant: tuple[str, dict[str, Any]]) -> None:
    name, options = variant
    found = f"{synthetic.find_generator(name).SEMANTICS} {digest(made(name, n=50, **options))}"
    assert found == GOLDEN[variant_name(variant)]


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_more_rows_begin_with_the_same_rows_however_they_are_cut(
    variant: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, options = variant
    few, many = made(name, n=30, **options), made(name, n=100, **options)
    assert all(np.array_equal(few[column], many[column][:30]) for column in few)
    monkeypatch.setattr(synthetic, "MAX_CHUNK_ROWS", 7)
    assert len(list(chunks(f"synthetic:{name}", {"n": 100, **options}, HERE))) == 15
    cut = made(name, n=100, **options)
    assert all(np.array_equal(cut[column], many[column]) for column in many)


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_another_seed_gives_other_rows_and_another_fingerprint(variant: tuple[str, dict[str, Any]]) -> None:
    name, options = variant
    first, second = made(name, n=50, **options), made(name, n=50, seed=1, **options)
    assert any(not np.array_equal(first[column], second[column]) for column in first)
    uri = f"synthetic:{name}"
    assert len({find(uri).fingerprint(uri, {**options, "seed": seed}, HERE, str) for seed in (0, 1)}) == 2


def test_a_default_spelled_out_has_the_same_fingerprint_and_a_role_none() -> None:
    source = find("synthetic:moons")
    given: list[dict[str, Any]] = [{}, {"noise": 0.1}, {"n": 1000}, {"role": "test"}]
    assert len({source.fingerprint("synthetic:moons", options, HERE, str) for options in given}) == 1


@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        ("synthetic:moon", {}, 'did you mean "moons"?'),
        ("synthetic:moons", {"nosie": 1}, 'did you mean "noise"?'),
        ("synthetic:moons", {"n": 0}, "expected a whole number from 1 to 4.29497e+09, got 0"),
        ("synthetic:moons", {"n": 1.5}, "expected a whole number"),
        ("synthetic:moons", {"noise": True}, "expected a number from 0, got True"),
        ("synthetic:sequences", {"task": "sorted"}, 'did you mean "sort"?'),
    ],
)
def test_wrong_names_and_options_are_refused(uri: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        describe(uri, options, HERE)
    assert message in str(caught.value)


def test_the_schema_needs_no_array_library() -> None:
    code = (
        "import sys; from pathlib import Path; from etude.runtime.sources import describe, find\n"
        "for name in ('molecules', 'shapes', 'sequences'):\n"
        "    describe(f'synthetic:{name}', {'n': 7}, Path())\n"
        "    find(f'synthetic:{name}').fingerprint(f'synthetic:{name}', {}, Path(), str)\n"
        "assert not {'numpy', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_class_of_a_molecule_is_which_atoms_are_bonded() -> None:
    data = made("molecules", n=400)
    bonds, mask = data["bonds"], data["mask"]
    assert np.array_equal(bonds, bonds.transpose(0, 2, 1)) and not bonds[~mask].any()
    straight = set(synthetic.find_generator("molecules").TRIPLES)  # type: ignore[attr-defined]
    for atom, adjacency, there, label in zip(data["atom"], bonds, mask, data["label"], strict=True):
        size = int(there.sum())
        graph = nx.from_numpy_array(adjacency[:size, :size])
        assert nx.is_tree(graph) and 9 <= size <= 12
        groups = [tuple(atom[end - 3 : end].tolist()) for end in (size - 3, size)]
        assert all((group in straight) == (label == 1) for group in groups)
        for end in (size - 3, size):
            assert adjacency[end - 3, end - 2] == adjacency[end - 2, end - 1] == 1


def test_both_classes_of_molecules_have_the_same_kinds_of_atoms() -> None:
    data = made("molecules", n=4000)
    shares = [np.bincount(data["atom"][data["label"] == k][data["mask"][data["label"] == k]]) for k in (0, 1)]
    first, second = (counts / counts.sum() for counts in shares)
    assert first == pytest.approx(second, abs=0.01)


@pytest.mark.parametrize("task", ["copy", "reverse", "sort", "sum"])
def test_the_output_of_a_sequence_is_what_the_task_says(task: str) -> None:
    data = made("sequences", n=100, task=task, vocab=7)
    expected = {"copy": list, "reverse": lambda ids: ids[::-1], "sort": sorted}
    expected["sum"] = lambda ids: [total % 7 for total in itertools.accumulate(ids)]
    for ids, mask, output in zip(data["ids"], data["mask"], data["output"], strict=True):
        assert output[mask].tolist() == list(expected[task](ids[mask].tolist()))
        assert not output[~mask].any() and not ids[~mask].any()


def test_rewritten_neighbours_change_places() -> None:
    data = made("sequences", n=200, task="rewrite", vocab=5)
    table: dict[int, int] = {}
    for ids, mask, output in zip(data["ids"], data["mask"], data["output"], strict=True):
        size = int(mask.sum())
        for place in range(size):
            partner = place ^ 1 if place ^ 1 < size else place
            assert table.setdefault(int(ids[partner]), int(output[place])) == output[place]
    assert sorted(table.values()) == list(range(5))


def test_families_of_graphs_have_their_shapes() -> None:
    data = made("graphs", n=2000)
    degree, mask, label = data["degree"], data["mask"], data["label"]
    assert np.array_equal(degree, data["bonds"].sum(axis=2))
    means = [degree[label == k].sum() / mask[label == k].sum() for k in range(4)]
    assert means == pytest.approx([4] * 4, abs=0.6)
    hubs = [degree[label == k].max(axis=1).mean() for k in range(4)]
    assert max(hubs) == hubs[1] and min(hubs) == hubs[2]


def test_a_planted_clique_is_there() -> None:
    data = made("graphs", n=100, label="planted")
    for bonds, label in zip(data["bonds"], data["label"], strict=True):
        largest = max(map(len, nx.find_cliques(nx.from_numpy_array(bonds))))
        assert largest >= 4 or label == 0


def test_boxes_enclose_the_pixels_of_their_shape() -> None:
    data = made("shapes", n=200, size=32, noise=0.0)
    for boxes, segments, kinds, label in zip(
        data["boxes"], data["segments"], data["kinds"], data["label"], strict=True
    ):
        rows, columns = np.nonzero(segments)
        top, left, bottom, right = boxes[0] * 32
        assert top - 1 <= rows.min() <= top + 3 and bottom - 3 <= rows.max() + 1 <= bottom + 1
        assert left - 1 <= columns.min() <= left + 3 and right - 3 <= columns.max() + 1 <= right + 1
        assert set(segments[segments > 0].tolist()) == {kinds[0] + 1} and label == kinds[0]


def test_a_tone_has_its_frequency() -> None:
    data = made("tones", n=50, length=1000, noise=0.0)
    peaks = np.abs(np.fft.rfft(data["wave"], axis=1)).argmax(axis=1) / 1000
    assert peaks == pytest.approx(0.02 * 2 ** (data["label"] / 4), abs=0.002)


def test_the_targets_of_regression_follow_from_the_features() -> None:
    data = made("regression", n=500, noise=0.0, function="friedman")
    x = data["features"].astype(np.float64)
    y = 10 * np.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    assert data["y"] == pytest.approx(y / 5, abs=1e-4)
    data = made("regression", n=500, noise=0.0)
    weights = np.linalg.lstsq(data["features"], data["y"], rcond=None)[0]
    assert data["features"] @ weights == pytest.approx(data["y"], abs=1e-4) and abs(weights[5:]).max() < 1e-4
