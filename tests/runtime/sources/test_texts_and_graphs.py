"""`*.txt`, `python:stdlib` and `networkx:*`."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from etude.runtime.sources import SourceError, describe, find, load
from etude.runtime.sources.networkx import GRAPHS

HERE = Path()
TEXT = "\ufeffone\r\n\r\ntwo\nthree\n\n\nfour"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "data.txt"
    path.write_bytes(TEXT.encode())
    return path


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("line", ["one", "two", "three", "four"]),
        ("paragraph", ["one", "two\nthree", "four"]),
        ("file", [TEXT.removeprefix("\ufeff")]),
    ],
)
def test_a_row_is_a_line_a_paragraph_or_the_file(text: Path, rows: str, expected: list[str]) -> None:
    assert load(text.name, {"rows": rows}, text.parent)["text"].tolist() == expected
    assert describe(text.name, {"rows": rows}, text.parent).rows == (1 if rows == "file" else None)


def test_a_byte_that_is_not_utf_8_is_refused_with_its_line_in_row_70000(text: Path) -> None:
    text.write_bytes(b"line\n" * 69_999 + b"l\xffne\n")
    with pytest.raises(SourceError) as caught:
        load(text.name, {}, text.parent)
    assert (caught.value.line, caught.value.expected, caught.value.got) == (70_000, "UTF-8", "byte 0xff")


def test_an_empty_text_and_a_wrong_unit_are_refused(text: Path) -> None:
    with pytest.raises(SourceError) as caught:
        describe(text.name, {"rows": "lines"}, text.parent)
    assert caught.value.hint == 'did you mean "line"?'
    text.write_bytes(b"")
    with pytest.raises(SourceError, match="the file is empty"):
        describe(text.name, {}, text.parent)


def test_the_standard_library_is_read_in_one_order() -> None:
    found = load("python:stdlib", {"limit": 30}, HERE)
    assert describe("python:stdlib", {"limit": 30}, HERE).rows == 30
    assert found["file"].tolist() == sorted(found["file"]) and len(set(found["file"])) == 30
    abc = Path(sysconfig.get_path("stdlib"), "abc.py").read_text()
    assert abc in found["text"].tolist()
    every = load("python:stdlib", {}, HERE)["file"].tolist()
    assert {"argparse.py", "json/decoder.py"} <= set(every)
    assert not [name for name in every if "site-packages" in name or name.startswith("test/")]


def test_functions_of_the_standard_library_come_with_their_docstrings_cut_out() -> None:
    found = load("python:stdlib", {"rows": "function", "limit": 20}, HERE)
    assert len(found["text"]) > 50
    for text, doc, name in zip(found["text"], found["doc"], found["name"], strict=True):
        assert f"def {name}" in text and doc and doc not in text


@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        ("python:stdlb", {}, 'there is "python:stdlib"'),
        ("python:stdlib", {"limit": 0}, "expected a number of files, got 0"),
        ("python:stdlib", {"rows": "functions"}, 'did you mean "function"?'),
        ("networkx:karat", {}, 'did you mean "karate"?'),
        ("networkx:karate", {"rows": "nodes"}, 'did you mean "node"?'),
    ],
)
def test_wrong_names_are_refused(uri: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        describe(uri, options, HERE)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("rows", ["node", "graph"])
def test_the_table_of_graphs_agrees_with_networkx(name: str, rows: str) -> None:
    uri, options = f"networkx:{name}", {"rows": rows}
    schema, found = describe(uri, options, HERE), load(uri, options, HERE)
    assert [column.name for column in schema.columns] == list(found)
    for column in schema.columns:
        values = found[column.name]
        assert (str(values.dtype), values.shape) == (column.dtype, (schema.rows, *column.shape))


def test_the_karate_club_is_its_graph() -> None:
    found, graph = load("networkx:karate", {}, HERE), nx.karate_club_graph()
    assert np.array_equal(found["bonds"], nx.to_numpy_array(graph, weight=None))
    assert np.array_equal(found["features"], np.eye(34)) and found["node"].tolist() == list(range(34))
    label = describe("networkx:karate", {}, HERE).column("label")
    assert label is not None and label.class_names is not None
    assert [label.class_names[k] for k in found["label"]] == [graph.nodes[n]["club"] for n in graph]


def test_schemas_and_fingerprints_import_nothing_heavy(text: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from etude.runtime.sources import describe, find\n"
        "for uri in ('data.txt', 'python:stdlib', 'networkx:karate'):\n"
        "    describe(uri, {}, Path(sys.argv[1])); find(uri).fingerprint(uri, {}, Path(sys.argv[1]), str)\n"
        "assert not {'numpy', 'pyarrow', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(text.parent)], check=True)


def test_fingerprints_name_versions_and_the_choice_of_files() -> None:
    source = find("python:stdlib")
    assert sys.version in source.fingerprint("python:stdlib", {}, HERE, str)
    few, fewer = (source.fingerprint("python:stdlib", {"limit": n}, HERE, str) for n in (3, 2))
    assert few != fewer
    assert find("networkx:karate").fingerprint("networkx:karate", {}, HERE, str) == f"networkx:karate:{nx.__version__}"
