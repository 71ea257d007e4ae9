"""What an expression of a recipe evaluates to while it is compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.ir import Operand
from etude.backends.program.types import DType, TensorType
from etude.compiler.diagnostics import Location
from etude.compiler.schema import ColumnSchema, Vocabulary
from etude.compiler.weight_origins import AnyOrigin as AnyOrigin
from etude.compiler.weight_origins import Before as Before
from etude.compiler.weight_origins import FrozenOrigin as FrozenOrigin
from etude.compiler.weight_origins import Identity as Identity
from etude.compiler.weight_origins import KeptOrigin as KeptOrigin
from etude.compiler.weight_origins import Origin as Origin
from etude.compiler.weight_origins import SlowOrigin as SlowOrigin
from etude.compiler.weight_origins import StartOrigin as StartOrigin
from etude.compiler.weight_origins import StoredOrigin as StoredOrigin
from etude.compiler.weight_origins import TrainedOrigin as TrainedOrigin
from etude.compiler.weight_origins import ValueOrigin as ValueOrigin
from etude.compiler.weight_origins import is_weight as is_weight
from etude.compiler.workflow import Ref
from etude.grammar import nodes

if TYPE_CHECKING:
    from etude.compiler.scopes import Scope


class Quantity(Struct, frozen=True):
    """A number with a unit of `units.UNITS`: `Quantity(3, "epochs")`."""

    value: int | float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"


class Bytes(int):
    """A counted number of bytes: an int that may be compared with `16MiB`."""


class Range(Struct, frozen=True):
    """`a..b`, both ends included."""

    start: Any
    stop: Any

    def items(self) -> range:
        return range(self.start, self.stop + 1)


class Record(Mapping[str, Any]):
    """An immutable record; equality is structural."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


class Row(Record):
    """The columns that a traced function sees; `schema` says which of them are targets."""

    def __init__(self, fields: Mapping[str, Any], schema: Mapping[str, ColumnSchema]) -> None:
        super().__init__(fields)
        self.schema = schema

    @property
    def targets(self) -> list[str]:
        columns = {name: self.schema[name] for name in self.fields}
        return [name for name, c in columns.items() if (c.kind == "label" or c.is_target) and not c.aside]

    @property
    def non_targets(self) -> list[str]:
        targets = self.targets
        return [name for name in self.fields if name not in targets and not self.schema[name].aside]


class TextColumn(Struct, frozen=True, eq=False):
    """A column of text in a traced function: it is no tensor, but can be handed through, and functions of texts read
    it. With a `vocabulary` its characters stand for tokens."""

    name: str
    vocabulary: Vocabulary | None = None


class TextValue(Struct, frozen=True, eq=False):
    """A text that is made of others in a traced function: nested lists that the host evaluates."""

    expression: Any


class Poison:
    """The value of an expression that was refused: whatever uses it is silent."""


POISON = Poison()


class Closure(Struct, frozen=True, eq=False):
    """A `fn` or a lambda with the scope it was made in. `library` is true for code of the standard library."""

    name: str
    parameters: tuple[nodes.Pattern | nodes.Parameter, ...]
    body: nodes.Body | nodes.Expr
    scope: Scope
    node: nodes.Fn | nodes.Lambda

    @property
    def is_lambda(self) -> bool:
        return isinstance(self.node, nodes.Lambda)


class Builtin(Struct, frozen=True, eq=False, dict=True):
    """A function written in Python. `parameters` are (name, has default); `extra` when further named ones are taken."""

    name: str
    function: Callable[..., Any]
    parameters: tuple[tuple[str, bool], ...]
    takes_extra: bool = False
    is_variadic: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.parameters)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The names of those without a default."""
        return tuple(name for name, has_default in self.parameters if not has_default)


class OperationValue(Struct, frozen=True, eq=False):
    """A tensor operation of the table, as a function."""

    name: str


class ModelClass(Struct, frozen=True, eq=False, dict=True):
    """A `model` definition with its scope."""

    node: nodes.ModelDef
    scope: Scope

    @property
    def name(self) -> str:
        return self.node.name


class Setting(Struct, frozen=True, eq=False):
    """A description that a stage reads: an optimizer, a schedule, an initialiser, an activation-free choice."""

    kind: str
    fields: Mapping[str, Any]


class Dataset(Struct, frozen=True, eq=False):
    """A dataset of the graph. `rows` is an estimate (None: unknown); `parts` is its role and the roots it came from."""

    ref: Ref
    columns: Mapping[str, ColumnSchema]
    rows: float | None
    role: str = "train"
    roots: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return "Dataset[{" + ", ".join(f"{name}: {column}" for name, column in self.columns.items()) + "}]"


class Endless(Struct, frozen=True, eq=False):
    """A dataset without an end: the stage that makes its rows, but for their number, and the columns they have."""

    columns: Mapping[str, ColumnSchema]
    spec: Mapping[str, Any]
    refs: Sequence[Ref]


class Fitted(Struct, frozen=True, eq=False):
    """A fitted estimator that is no model: what it says of a row is computed on the host, from the column `input`."""

    ref: Ref
    name: str
    input: str
    schema: ColumnSchema
    output: TensorType


class Deferred(Struct, frozen=True):
    """A value known after the run: an expression as nested lists, with ["ref", stage, port] for outputs of stages.

    `dtype` is what a number is among tensors, and `unit` what it may be compared with.
    """

    expression: Any
    kind: str = "number"
    dtype: DType = "float32"
    unit: str | None = None

    def refs(self) -> list[Ref]:
        return list(dict.fromkeys(_refs(self.expression)))


class DeferredList(Deferred, frozen=True):
    """A list known after the run, of a length known before: as a row of `confusion_counts`."""

    length: int = 0

    def items(self) -> list[Deferred]:
        return [Deferred(["at", self.expression, index]) for index in range(self.length)]


def _refs(expression: Any) -> Iterator[Ref]:
    if isinstance(expression, dict):
        for item in expression.values():
            yield from _refs(item)
    elif isinstance(expression, list):
        if len(expression) == 3 and expression[0] == "ref":
            yield Ref(expression[1], expression[2])
        else:
            for item in expression:
                yield from _refs(item)


class Measured(Struct, frozen=True, eq=False):
    """A tensor known after the run: the `index`-th of a file at `source`, or the `index`-th result of a computation.

    Where its shape has `b`, this is the number of rows of the dataset `rows`.
    """

    type: TensorType
    source: Ref | Computation
    index: int = 0
    rows: Ref | None = None
    classes: int | None = None


class Computation(Struct, frozen=True, eq=False):
    """An operation on values known after the run: `apply` makes tensors of a traced function from the operands."""

    operands: tuple[Measured | Deferred, ...]
    apply: Callable[[list[Tensor]], Sequence[Tensor]]


class Tokenizer(Struct, frozen=True, eq=False):
    """A tokenizer of the graph. `fields` are the numbers that recipes read: `size`, and the special tokens."""

    ref: Ref
    vocabulary: Vocabulary
    fields: Mapping[str, int]
    roots: frozenset[str] = frozenset()


class Output(Struct, frozen=True):
    """An output of a stage that is neither dataset, model nor number: a history, a table, a figure."""

    kind: str
    ref: Ref
    label: str = ""


class Made(Struct, frozen=True, eq=False):
    """A tensor that an operation makes from plain numbers (`zeros([64])`), outside of a traced function."""

    operation: str
    positional: tuple[Any, ...]
    named: Mapping[str, Any]


class Tensor(Struct, frozen=True, eq=False):
    """A value of the tensor program being traced. `builder` tells in which sub-program it lives. It holds class numbers
    below `classes`, which were made so at `made_at`."""

    operand: Operand
    builder: Any
    location: Location
    classes: int | None = None
    made_at: Location | None = None

    @property
    def type(self) -> TensorType:
        return self.operand.type


# --- models --------------------------------------------------------------------------------------


class Named(Struct, frozen=True, eq=False, kw_only=True):
    """What can have a name that is for people."""

    name: str | None = None


class Model(Named, frozen=True, eq=False):
    """An architecture with an origin for each weight. `identity` tells two models apart."""

    identity: Identity

    def named(self, name: str) -> Model:
        return self if self.name else replace(self, name=name)


class Instance(Model, frozen=True, eq=False):
    """One evaluation of a constructor. Its weights are drawn from (seed, structure, ordinal)."""

    definition: ModelClass
    configuration: Mapping[str, Any]
    seed: int | None
    structure: str
    location: Location


class Chain(Model, frozen=True, eq=False):
    """`a >> b`: parts are models or functions of one tensor. `is_list` when made by `chain(models)`."""

    parts: Sequence[Any]
    location: Location
    is_list: bool = False


class Wrapper(Model, frozen=True, eq=False):
    """The architecture of `base` with other weights, or with other parts."""

    base: Model


class Trained(Wrapper, frozen=True, eq=False):
    """`base` with every weight that the stage updated replaced by its result."""

    training: Training


class Slow(Wrapper, frozen=True, eq=False):
    """A slow copy of `base` inside a `train`."""


class Start(Wrapper, frozen=True, eq=False):
    """`base` with its weights as they were when the stage that uses it began."""


class Frozen(Wrapper, frozen=True, eq=False):
    """`base` with its current weights, through which nothing learns."""


class Reseeded(Wrapper, frozen=True, eq=False):
    """`base` with what is still fresh of it drawn from another seed."""

    seed: int


class Replaced(Wrapper, frozen=True, eq=False):
    """`base` with other models in the place of some of its parts, as a `Replacement` says."""

    replacement: Any


class Tapped(Wrapper, frozen=True, eq=False):
    """`base`, whose calls also give what some of its parts give."""

    globs: tuple[str, ...]
    location: Location


class Adapter(Wrapper, frozen=True, eq=False):
    """`base`, which is `of` with parts replaced; the weights of its own adapt those of `of`."""

    of: Model
    replacement: Any


class Rebound(Wrapper, frozen=True, eq=False):
    """`base` with tensors of the function being traced in the place of some weights, by the weights' origins."""

    tensors: Mapping[Any, Tensor]


class Stored(Struct, frozen=True, eq=False):
    """A tensor of a tree outside of any traced function: one that a file holds, or an operation on such."""

    type: TensorType
    origin: Any = None
    operation: str = ""
    operands: tuple[Any, ...] = ()


class Tree(Struct, frozen=True, eq=False):
    """Tensors by path, shaped like the weights of a model. `leaves` are tensors of one function, or `Stored`."""

    paths: tuple[str, ...]
    leaves: tuple[Any, ...]


class Training(Struct, eq=False):
    """A stage as the models that come out of it see it: which origins it replaced, by what. A fitted model takes the
    columns it was fitted to."""

    stage: str
    updated: dict[AnyOrigin, TrainedOrigin]
    history: Ref | None
    columns: tuple[str, ...] = ()


def describe(value: Any) -> str:
    """What a value is, in the words of the language.

    >>> describe(3)
    'an int'
    """
    if isinstance(value, Tensor):
        return f"a tensor {value.type}"
    if isinstance(value, Measured):
        return f"a tensor {value.type} that is known after the run"
    for kinds, text in _DESCRIPTIONS:
        if isinstance(value, kinds):
            return text
    if isinstance(value, Quantity):
        return f"a quantity in {value.unit}"
    if isinstance(value, Setting | Output):
        return f"{'an' if value.kind[0] in 'aeiou' else 'a'} {value.kind}"
    return "none" if value is None else f"a {type(value).__name__}"


_DESCRIPTIONS: tuple[tuple[Any, str], ...] = (
    (bool, "a bool"),
    (int, "an int"),
    (float, "a float"),
    (str, "a string"),
    (list, "a list"),
    (Record, "a record"),
    (Dataset, "a dataset"),
    (Tokenizer, "a tokenizer"),
    (Adapter, "an adapter"),
    (Model, "a model"),
    (Fitted, "a fitted estimator"),
    (Endless, "a stream"),
    ((Closure, Builtin, OperationValue), "a function"),
    (ModelClass, "a model constructor"),
    (DeferredList, "a list known after the run"),
    (Deferred, "a value known after the run"),
    (Range, "a range"),
    (Made, "a tensor"),
    (Tree, "a tree of tensors"),
    (TextColumn, "a text column"),
    (TextValue, "a text"),
)
