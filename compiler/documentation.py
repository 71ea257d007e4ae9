"""What each name of the language means, in words: library functions, builtins and operations, from where they stand.

Nothing that checking a recipe does comes by here.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from etude.backends import ops
from etude.backends.ops.table import Operation
from etude.compiler.arithmetic import ROWS
from etude.compiler.builtins import library_names
from etude.compiler.builtins.measuring_sets import METRICS
from etude.compiler.keywords import RULES as KEYWORDS
from etude.compiler.modules import ALWAYS_OPEN, FOLDER, known_modules
from etude.compiler.scopes import nearest
from etude.compiler.values import Builtin, Setting
from etude.grammar import nodes
from etude.grammar.parser import parse

Kind: TypeAlias = Literal["function", "model", "builtin", "value", "operation", "keyword"]
PAPER = re.compile(r"\(([^()]*?[A-Z][^()]*? (?:1[89]|20)\d\d[^()]*)\)")
INITIALISER = re.compile(r"(lecun|he|xavier)_(normal|uniform)")
FANS = {"lecun": "1 / inputs", "he": "2 / inputs", "xavier": "2 / (inputs + outputs)"}
AUTHORS = {"lecun": "LeCun et al., 1998", "he": "He et al., 2015", "xavier": "Glorot and Bengio, 2010"}
# Names that are no function with a docstring of its own.
PLAIN = {
    "auroc": "The area under the ROC curve of all rows: scores [rows] or [rows, classes], labels [rows].",
    "average_precision": "The area under the curve of precision by recall, of scores and truth values of all rows.",
    "f1": 'The harmonic mean of precision and recall over all rows; average is "macro", "micro", "weighted" or "none".',
    "precision": "Of the rows taken for a class, the share that belongs to it; `average` as for `f1`.",
    "recall": "Of the rows of a class, the share that is taken for it; `average` as for `f1`.",
    "balanced_accuracy": "The mean of the recalls of all classes.",
    "matthews": "The correlation of predictions and labels over all rows (Matthews, 1975).",
    "r2": "The share of the variance of the targets that the predictions explain.",
    "pearson": "The linear correlation of predictions and targets over all rows.",
    "spearman": "The correlation of the ranks of predictions and targets over all rows.",
    "ece": "How far confidence and accuracy are apart, in `bins` of equal width (Guo et al., 2017).",
    "silhouette": "How much nearer rows are to their own label than to the next one, from -1 to 1 (Rousseeuw, 1987).",
    "confusion_counts": "For each label, how many rows were taken for each class.",
    "support": "For each class, how many rows have it as label.",
    "log_loss": "Minus the mean logarithm of the probability of each label, over all rows.",
    "recall_at_k": "Of what is relevant in a row, the share among its `k` highest scores: scores, relevant [entries].",
    "mrr": "One over the place of the first relevant entry by score, on average: scores, relevant [entries].",
    "ndcg": "The gain of the `k` highest scores of a row, discounted by place, by the best there is (Jarvelin, 2002).",
    "mean_average_precision": "The mean over rows of the average precision of scores for what is relevant [entries].",
    "retrieval_recall": "How often a row's own key is among the `k` keys nearest to its query: queries, keys [width].",
    "bleu": "How many n-grams of the written tokens stand in the references (Papineni et al., 2002).",
    "edit_distance": "How many tokens must be changed to come from one sequence to the other (Levenshtein, 1966).",
    "int": "A tensor as 32-bit ints: floats are cut towards zero, true is 1.",
    "float": "A tensor as 32-bit floats: true is 1.",
    "bool": "A tensor as truth values: what is not zero is true.",
    "length": "How many characters a text has.",
    "lines": "How many lines a text has.",
    "words": "How many words a text has.",
    "count": "How often a text has another one in it.",
    "contains": "Whether a text has another one in it.",
    "match": "Whether a regular expression is found in a text.",
    "lower": "A text in small letters.",
    "replace": "A text with another one in the place of each part that is equal to a third.",
    "training": "In the body of a model: whether it is in training, decided by the compiler for each stage.",
    "plugin": "The Python of others: `plugin.NAME` is what a package declares, where the command line allows it.",
    "none": "No value: the default of what may be left out.",
    "auto": "For `accumulate` of `train`: as few parts of a batch as the memory of the machine asks for.",
    "last": "For `keep` of `train`: the weights after the last step.",
    "all": "Whether all are true; for `keep` of `train`: the weights at each validation.",
}


class Entry(Struct, frozen=True, kw_only=True):
    """A name and all that is said of it. `arguments` are (name, type, default) as they are written."""

    name: str
    kind: Kind
    group: str
    signature: str
    doc: str
    arguments: tuple[tuple[str, str, str | None], ...] = ()
    inputs: tuple[str, ...] = ()
    file: str
    line: int
    is_open: bool = True

    @property
    def path(self) -> str:
        return f"{self.group}.{self.name}" if self.group.startswith("std.") else self.name

    @property
    def papers(self) -> list[str]:
        """The papers that the words name, as "Chen et al., 2020"."""
        found = PAPER.findall(" ".join(self.doc.split()))
        return [part.strip() for each in found for part in each.split(";")]

    @property
    def summary(self) -> str:
        """The first sentence."""
        return re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(self.doc.split()), maxsplit=1)[0]


class Group(Struct, frozen=True):
    """A module of the library, or a family of builtins or operations."""

    name: str
    doc: str
    entries: tuple[Entry, ...]


@cache
def library() -> tuple[Group, ...]:
    """The modules of the library."""
    return tuple(_module(name) for name in known_modules())


@cache
def language() -> tuple[Group, ...]:
    """The builtins, by the file that they stand in."""
    import etude.compiler.builtins as package

    found = []
    for module in pkgutil.iter_modules(package.__path__):
        file = importlib.import_module(f"{package.__name__}.{module.name}")
        entries = tuple(_builtins_of(file))
        if entries:
            found.append(Group(module.name, _first_line(file.__doc__), entries))
    return tuple(found)


@cache
def operations() -> tuple[Group, ...]:
    """The tensor operations, by family."""
    found = []
    for module in pkgutil.iter_modules(ops.__path__):
        file = importlib.import_module(f"{ops.__name__}.{module.name}")
        entries = [_operation(row, module.name) for row in getattr(file, "ROWS", ()) if _is_written(row.name)]
        if entries:
            found.append(Group(module.name, _first_line(file.__doc__), tuple(entries)))
    return tuple(found)


@cache
def keywords() -> tuple[Group, ...]:
    """The words of the grammar."""
    about = {"kind": "keyword", "group": "keywords", "file": "grammar/etude.lark"}
    rules = (FOLDER.parents[1] / "grammar" / "etude.lark").read_text(encoding="utf-8").splitlines()
    entries = []
    for name, (rule, written, doc) in KEYWORDS.items():
        line = next(i for i, text in enumerate(rules, 1) if text.startswith((f"{rule}:", f"?{rule}:")))
        entries.append(Entry(name=name, signature=written, doc=doc, line=line, **about))  # type: ignore[arg-type]
    return (Group("keywords", "What statements and expressions are made of.", tuple(entries)),)


def groups() -> tuple[Group, ...]:
    """All there is: the library, the builtins, the operations, the keywords."""
    return (*library(), *language(), *operations(), *keywords())


def find(name: str) -> list[Entry]:
    """The entries for `simclr`, `std.ssl.simclr` or `ssl.simclr`; a builtin hides the operation that it is made of."""
    module, _, last = name.rpartition(".")
    wanted = {module, f"std.{module}"} if module else None
    found = [e for g in groups() for e in g.entries if e.name == last and (wanted is None or e.group in wanted)]
    return [e for e in found if e.kind != "operation"] or found


def find_group(name: str) -> Group | None:
    """The module or family `std.ssl`, `ssl` or `reductions`."""
    return next((group for group in groups() if group.name in {name, f"std.{name}"}), None)


def suggestion(name: str) -> str | None:
    """The name most like an unknown one."""
    known = {e.name: e.path for g in groups() for e in g.entries} | {g.name: g.name for g in groups()}
    if "." in name:
        return nearest(name, known.values())
    close = nearest(name, known)
    return known[close] if close else nearest(name, known.values())


# --- the library ---


def _module(name: str) -> Group:
    path = FOLDER / f"{name.removeprefix('std.')}.etude"
    text = path.read_text(encoding="utf-8")
    head = re.match(r"(?:#[^\n]*\n)*(?=\n)", text)
    doc = " ".join(line.lstrip("# ") for line in head[0].splitlines()) if head else ""
    entries = (_definition(statement, text, name) for statement in parse(text).statements)
    return Group(name, doc, tuple(entry for entry in entries if entry is not None))


def _definition(node: nodes.Statement, text: str, module: str) -> Entry | None:
    if not isinstance(node, nodes.Fn | nodes.ModelDef):
        return None
    is_model = isinstance(node, nodes.ModelDef)
    parameters = node.configuration if isinstance(node, nodes.ModelDef) else node.parameters
    written = text[node.span.start : node.body.span.start].rstrip().rstrip("={").rstrip()
    return Entry(
        name=node.name,
        kind="model" if is_model else "function",
        group=module,
        signature=re.sub(r"\(\s+", "(", re.sub(r"\s+\)", ")", " ".join(written.split()))),
        doc=(node.doc or "").strip(),
        arguments=tuple(_argument(parameter, text) for parameter in parameters),
        inputs=tuple(p.name for p in node.inputs) if isinstance(node, nodes.ModelDef) else (),
        file=f"compiler/std/{module.removeprefix('std.')}.etude",
        line=text.count("\n", 0, node.span.start) + 1,
        is_open=module in ALWAYS_OPEN,
    )


def _argument(parameter: nodes.Parameter, text: str) -> tuple[str, str, str | None]:
    def written(node: nodes.Node) -> str:
        return text[node.span.start : node.span.end]

    type = "" if parameter.type is None else written(parameter.type)
    return parameter.name, type, None if parameter.default is None else written(parameter.default)


# --- builtins ---


def _builtins_of(file: Any) -> Iterator[Entry]:
    """The builtins of a module, and the settings and metrics that it adds to the table."""
    group = file.__name__.rpartition(".")[2]
    path = f"compiler/builtins/{group}.py"
    for name, value in library_names().items():
        if isinstance(value, Builtin) and _home(value) == file.__name__:
            yield _builtin(name, value, group, path)
        elif _is_value(value, file):
            yield Entry(name=name, kind="value", group=group, signature=name, doc=_plain(name), file=path, line=1)


def _is_value(value: Any, file: Any) -> bool:
    """Whether a name that is no function belongs to a module: what its class stands in says so."""
    is_setting = value is None or isinstance(value, Setting)
    return bool(is_setting and file.__name__.endswith(".settings")) or type(value).__module__ == str(file.__name__)


def _home(builtin: Builtin) -> str:
    function: Any = getattr(builtin.function, "func", builtin.function)
    return str(function.__module__)


def _builtin(name: str, builtin: Builtin, group: str, path: str) -> Entry:
    function: Any = getattr(builtin.function, "func", builtin.function)
    defaults = {p.name.removesuffix("_"): p.default for p in inspect.signature(builtin.function).parameters.values()}
    defaults |= METRICS.get(name, ((), {}))[1]
    arguments = tuple(
        (parameter, "", _literal(defaults.get(parameter, inspect.Parameter.empty)) if has_default else None)
        for parameter, has_default in builtin.parameters
    )
    shown = [f"{parameter} = {default}" if default else parameter for parameter, _, default in arguments]
    shown += ["..."] * (builtin.takes_extra or builtin.is_variadic)
    own = inspect.cleandoc(builtin.function.__doc__ or "")
    line = inspect.getsourcelines(function)[1]
    if not own:
        line = _line_of(name, inspect.getsource(importlib.import_module(function.__module__)))
    return Entry(
        name=name,
        kind="builtin",
        group=group,
        signature=f"{name}({', '.join(shown)})",
        doc=own or PLAIN.get(name, ""),
        arguments=arguments,
        file=path,
        line=line,
    )


def _literal(value: Any) -> str:
    """A default as a recipe writes it."""
    if value is None or value is inspect.Parameter.empty:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _plain(name: str) -> str:
    found = INITIALISER.fullmatch(name)
    if found is None:
        return PLAIN.get(name, "")
    family, shape = found.groups()
    drawn = "a normal distribution" if shape == "normal" else "an interval around 0"
    return f"Weights drawn from {drawn} with the variance {FANS[family]} ({AUTHORS[family]})."


# --- operations ---


def _is_written(name: str) -> bool:
    """Whether a recipe can write an operation, as a function or as an operator."""
    return name in library_names() or name in SYMBOLS


SYMBOLS: Mapping[str, str] = {
    **{row: f"x {symbol} y" for symbol, row in ROWS.items()},
    "neg": "-x",
    "not": "not x",
    "slice": "x[0:3, ..., newaxis]",
    "gather": "x[index]",
}


def _operation(row: Operation, family: str) -> Entry:
    arguments = tuple((p.name, p.kind, p.default) for p in row.parameters)
    shown = [f"{name}: {kind}" + (f" = {default}" if default else "") for name, kind, default in arguments]
    return Entry(
        name=row.name,
        kind="operation",
        group=family,
        signature=SYMBOLS.get(row.name) or f"{row.name}({', '.join(shown)})",
        doc=" ".join([row.doc, *_promises(row)]),
        arguments=arguments,
        file=f"backends/ops/{family}.py",
        line=_line_of(row.name, _source(family)),
    )


def _promises(row: Operation) -> Iterator[str]:
    if row.is_random:
        yield "Drawn afresh at each use."
    elif not row.differentiable:
        yield "No gradient goes through it."
    elif not row.twice_differentiable:
        yield "It has no second derivative."


@cache
def _source(family: str) -> str:
    return inspect.getsource(importlib.import_module(f"{ops.__name__}.{family}"))


def _line_of(name: str, source: str) -> int:
    """The line of a row of a table: where its name is written."""
    at = source.find(f'name="{name}"')
    at = source.find(f'"{name}"') if at < 0 else at
    return source.count("\n", 0, max(at, 0)) + 1


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n\n")[0].replace("\n", " ")
