"""Tokenizers, and the stages from texts to tokens and back."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.data import add_stage, dataset
from etude.compiler.builtins.each_split import on_each_split
from etude.compiler.builtins.rewriting import model_argument
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import REGISTRY, builtin
from etude.compiler.calls import CallSite
from etude.compiler.models import model_origins
from etude.compiler.schema import ColumnSchema, Vocabulary
from etude.compiler.texts import FUNCTIONS, HIDDEN
from etude.compiler.tokenized import was_bounded
from etude.compiler.values import (
    AnyOrigin,
    Builtin,
    Dataset,
    Instance,
    Model,
    Output,
    Tokenizer,
    TrainedOrigin,
    describe,
)
from etude.compiler.workflow import Ref

# The special tokens of every tokenizer come first, under these numbers; then what its algorithm makes.
SPECIAL = {"pad": 0, "unk": 1, "mask": 2, "bos": 3, "eos": 4}
BYTES = 256  # tokens that byte-level tokenizers have from the start


def _least(algorithm: str) -> int:
    """The smallest vocabulary that an algorithm can have."""
    return len(SPECIAL) + (BYTES if algorithm in {"bpe", "bytes"} else 1)


def _fit(site: CallSite, algorithm: str, vocab: Any, on: Any, column: Any, lowercase: Any) -> Tokenizer:
    """The stage that fits a tokenizer to a column of texts."""
    d = dataset(site, on, "on")
    size = plain_int(site, "vocab", vocab)
    if size < _least(algorithm):
        text = f"'vocab' of '{algorithm}' is at least {_least(algorithm)}, got {size}"
        why = "256 bytes and 5 special tokens" if algorithm == "bpe" else "there are 5 special tokens"
        raise faults.wrong_value(text, site.at("vocab"), why)
    if not isinstance(lowercase, bool):
        what = f"'lowercase' of '{algorithm}'"
        raise faults.wrong_kind(what, "true or false", describe(lowercase), site.at("lowercase"))
    name = text_column(site, d, column)
    spec = {"algorithm": algorithm, "vocab": size, "column": name, "lowercase": lowercase}
    id = add_stage(site, "tokenizer", spec, [d.ref], {"tokenizer": "Tokenizer"}, f"{algorithm}, {size} tokens")
    return _made(site, id, size, d.roots)


def _made(site: CallSite, id: str, size: int, roots: frozenset[str] = frozenset()) -> Tokenizer:
    name = site.session.stages.stages[id].name
    return Tokenizer(Ref(id, "tokenizer"), Vocabulary(size, name, id), {"size": size, **SPECIAL}, roots)


@builtin
def bpe(site: CallSite, *, vocab: Any, on: Any, column: Any = None, lowercase: Any = False) -> Tokenizer:
    """Byte-pair encoding of bytes: every text has tokens, and is given back as it was (Sennrich et al., 2016)."""
    return _fit(site, "bpe", vocab, on, column, lowercase)


@builtin
def wordpiece(site: CallSite, *, vocab: Any, on: Any, column: Any = None, lowercase: Any = True) -> Tokenizer:
    """Pieces of words, the longest first, as BERT has them (Schuster and Nakajima, 2012)."""
    return _fit(site, "wordpiece", vocab, on, column, lowercase)


@builtin
def unigram(site: CallSite, *, vocab: Any, on: Any, column: Any = None, lowercase: Any = False) -> Tokenizer:
    """The pieces that make a text most likely (Kudo, 2018)."""
    return _fit(site, "unigram", vocab, on, column, lowercase)


@builtin
def char(site: CallSite, *, vocab: Any, on: Any, column: Any = None, lowercase: Any = False) -> Tokenizer:
    """A token for each of the most frequent characters."""
    return _fit(site, "char", vocab, on, column, lowercase)


@builtin
def bytes_(site: CallSite) -> Tokenizer:
    """A token for each byte of UTF-8: nothing is fitted."""
    size = _least("bytes")
    id = add_stage(site, "tokenizer", {"algorithm": "bytes", "vocab": size}, [], {"tokenizer": "Tokenizer"}, "bytes")
    return _made(site, id, size)


@builtin
def words(site: CallSite, *, vocab: Any, on: Any, column: Any = None, lowercase: Any = False) -> Tokenizer:
    """A token for each of the most frequent words and signs."""
    return _fit(site, "words", vocab, on, column, lowercase)


@builtin
def has_bounds(site: CallSite, model: Any, tokenizer: Any) -> bool:
    """Whether texts began with `bos`, among those of a tokenizer that the model was last trained on."""
    m, tok = model_argument(site, model), tokenizer_argument(site, tokenizer)
    made = [origin.ref.stage for origin in _origins(site, m) if isinstance(origin, TrainedOrigin)]
    return was_bounded(made, tok.ref, site.session.stages.stages)


def _origins(site: CallSite, model: Model) -> list[AnyOrigin]:
    """The origins of a model's weights; of one that was not called yet those of the models among its settings."""
    found = model_origins(site.session, model)
    if found or not isinstance(model, Instance):
        return found
    parts = [value for value in model.configuration.values() if isinstance(value, Model)]
    return [origin for part in parts for origin in _origins(site, part)]


# --- columns ---


def text_column(site: CallSite, d: Dataset, name: Any) -> str:
    """The column of texts that is meant: the one named, else `text`, else the only one."""
    texts = [column.name for column in d.columns.values() if column.kind == "text" and column.vocabulary is None]
    if name is None:
        if "text" in texts or len(texts) == 1:
            return "text" if "text" in texts else texts[0]
        found = f"the columns {', '.join(f'{column.name}: {column}' for column in d.columns.values())}"
        help = f'say which: column = "{texts[0]}"' if texts else None
        raise faults.wrong_kind(f"the data of '{site.name}'", "a column of texts", found, site.location, help)
    if not isinstance(name, str):
        raise faults.wrong_kind(f"'column' of '{site.name}'", "a column name", describe(name), site.at("column"))
    if name not in d.columns:
        raise faults.missing_column(name, site.at("column"), list(d.columns), "the dataset")
    if name not in texts:
        what = f"'column' of '{site.name}'"
        raise faults.wrong_kind(what, "a column of texts", f"the column {d.columns[name]}", site.at("column"))
    return name


def token_column(site: CallSite, d: Dataset, name: Any) -> ColumnSchema:
    """The column of tokens that is meant: the one named, else `ids`, else the only one."""
    tokens = [column.name for column in d.columns.values() if column.vocabulary is not None]
    if name is None:
        name = "ids" if "ids" in tokens else tokens[0] if len(tokens) == 1 else None
    elif not isinstance(name, str):
        raise faults.wrong_kind(f"'column' of '{site.name}'", "a column name", describe(name), site.at("column"))
    elif name not in d.columns:
        raise faults.missing_column(name, site.at("column"), list(d.columns), "the dataset")
    if name not in tokens:
        found = f"the columns {', '.join(f'{column.name}: {column}' for column in d.columns.values())}"
        numbers = [
            c.name for c in d.columns.values() if c.kind == "tensor" and c.dtype == "int32" and len(c.shape) == 1
        ]
        is_said = site.name == "decode" and numbers  # what was computed with is known to be tokens by nobody else
        help = f'if they are, say so: column = "{numbers[0]}"' if is_said else "tokens come from tokenize(tok)"
        raise faults.wrong_kind(f"the data of '{site.name}'", "a column of tokens", found, site.location, help)
    return d.columns[name]


def tokenizer_argument(site: CallSite, value: Any) -> Tokenizer:
    if not isinstance(value, Tokenizer):
        help = "fit one: bpe(vocab = 2k, on = data)"
        what = f"'tokenizer' of '{site.name}'"
        raise faults.wrong_kind(what, "a tokenizer", describe(value), site.at("tokenizer"), help)
    return value


# --- functions of a text, where it is not one that they are given ---


def _function(name: str) -> Builtin:
    def refuse(site: CallSite, text: Any, **given: Any) -> Any:
        what, help = f"'text' of '{name}'", f"in a function of rows: map(d, row => {{...row, n: {name}(row.text)}})"
        raise faults.wrong_kind(what, "a text of a row", describe(text), site.at("text"), help)

    return Builtin(name, refuse, (("text", False), *((each, False) for each in FUNCTIONS[name][0])))


for _name in FUNCTIONS:
    if _name not in {*HIDDEN, "words", "replace"}:  # these are tokenizers and models, too
        REGISTRY.setdefault(_name, _function(_name))


# --- stages ---


@on_each_split
@builtin
def tokenize(
    site: CallSite,
    data: Any,
    tokenizer: Any,
    *,
    length: Any = None,
    column: Any = None,
    into: Any = "ids",
    bounds: Any = False,
) -> Dataset:
    """The tokens of a column of texts, in its place: `length` of them with a mask, or as many as there are, for `pack`.

    With `bounds` each text begins with `bos` and ends with `eos`.
    """
    d, tok = dataset(site, data, "data"), tokenizer_argument(site, tokenizer)
    source = text_column(site, d, column)
    if not isinstance(into, str):
        raise faults.wrong_kind("'into' of 'tokenize'", "a column name", describe(into), site.at("into"))
    if not isinstance(bounds, bool):
        raise faults.wrong_kind("'bounds' of 'tokenize'", "true or false", describe(bounds), site.at("bounds"))
    spec: dict[str, Any] = {"column": source, "into": into, "bounds": bounds, "length": None, "mask": None}
    if length is None:
        made = [ColumnSchema(into, "text", "text", vocabulary=tok.vocabulary)]
    else:
        count = _positive(site, "length", length)
        spec["length"], spec["mask"] = count, "mask" if into == "ids" else f"{into}_mask"
        made = [
            ColumnSchema(into, "tensor", "int32", (count,), vocabulary=tok.vocabulary),
            ColumnSchema(spec["mask"], "tensor", "bool", (count,)),
        ]
    kept = [each for name, each in d.columns.items() if name != source]
    for each in made:
        if each.name in {other.name for other in kept}:
            text = f"the data has a column '{each.name}' already"
            raise faults.wrong_value(text, site.location, 'give another name: into = "tokens"')
    columns = {each.name: each for each in (*made, *kept)}
    shown = Dataset(d.ref, columns, d.rows)
    label = tok.vocabulary.name if length is None else f"{tok.vocabulary.name}, {length} tokens"
    id = add_stage(site, "tokenize", spec, [d.ref, tok.ref], {"data": str(shown)}, label)
    return Dataset(Ref(id, "data"), columns, d.rows, d.role, d.roots)


@on_each_split
@builtin
def pack(site: CallSite, data: Any, length: Any, *, column: Any = None) -> Dataset:
    """Rows of `length` tokens without padding: the texts one after the other, each closed by `eos`; what is left over
    at the end is dropped. A row may hold the end of one text and the beginning of another."""
    d = dataset(site, data, "data")
    count, source = _positive(site, "length", length), token_column(site, d, column)
    if source.kind != "text":
        help = "leave the length out: tokenize(tok) |> pack(128)"
        raise faults.wrong_kind("'data' of 'pack'", "tokens without padding", f"{source}", site.at("data"), help)
    spec = {"column": source.name, "length": count, "end": SPECIAL["eos"]}
    made = ColumnSchema(source.name, "tensor", "int32", (count,), vocabulary=source.vocabulary)
    shown = Dataset(d.ref, {made.name: made}, None)
    id = add_stage(site, "pack", spec, [d.ref], {"data": str(shown)}, f"{count} tokens a row")
    return Dataset(Ref(id, "data"), {made.name: made}, None, d.role, d.roots)


@on_each_split
@builtin
def decode(site: CallSite, data: Any, tokenizer: Any, *, column: Any = None, into: Any = "text") -> Dataset:
    """The texts that tokens stand for, in their place: up to the first `eos`, without special tokens."""
    d, tok = dataset(site, data, "data"), tokenizer_argument(site, tokenizer)
    name = column if isinstance(column, str) and column in d.columns else token_column(site, d, column).name
    source = d.columns[name]
    if source.vocabulary is not None and source.vocabulary.key != tok.vocabulary.key:
        raise faults.other_tokenizer(f"column '{name}'", source.vocabulary, tok.vocabulary, site.at("tokenizer"))
    if source.kind != "text" and (source.dtype != "int32" or len(source.shape) != 1):
        raise faults.wrong_kind("'column' of 'decode'", "a column of tokens", str(source), site.at("column"))
    if not isinstance(into, str) or (into != name and into in d.columns):
        text = f"'into' of 'decode' is a new column, got {into if isinstance(into, str) else describe(into)}"
        raise faults.wrong_value(text, site.at("into"), 'give another name: into = "words"')
    columns = {into: ColumnSchema(into, "text", "text"), **{n: c for n, c in d.columns.items() if n != name}}
    spec = {"column": name, "into": into, "end": SPECIAL["eos"], "special": len(SPECIAL)}
    shown = Dataset(d.ref, columns, d.rows)
    id = add_stage(site, "decode", spec, [d.ref, tok.ref], {"data": str(shown)}, tok.vocabulary.name)
    return Dataset(Ref(id, "data"), columns, d.rows, d.role, d.roots)


@builtin
def texts(site: CallSite, data: Any, *, column: Any = None, count: Any = 8) -> Output:
    """A table of the first texts of a dataset, with its other columns that are no tensors."""
    d = dataset(site, data, "data")
    name = text_column(site, d, column)
    others = [c.name for c in d.columns.values() if c.name != name and not c.shape and c.vocabulary is None]
    spec = {"columns": [name, *others], "count": _positive(site, "count", count)}
    id = add_stage(site, "texts", spec, [d.ref], {"table": "Table"}, name)
    return Output("table", Ref(id, "table"))


def _positive(site: CallSite, name: str, value: Any) -> int:
    count = plain_int(site, name, value)
    if count < 1:
        raise faults.wrong_value(f"'{name}' of '{site.name}' is at least 1, got {count}", site.at(name))
    return count
