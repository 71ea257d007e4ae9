"""Names in emitted source: identifiers from names for people, scopes that never shadow, words from operations."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

# Names that mean something everywhere in emitted modules.
RESERVED = frozenset(
    {*dir(builtins), "self", "key", "np", "torch", "nn", "F", "Tensor", "jax", "jnp", "lax", "nnx", "optax", "Array"}
    | {"partial", "Callable", "random", "device", "Models", "rebuild", "values_at"}
    | {"accumulated", "gradients", "over_blocks", "separate", "Lion", "Lamb", "Lars", "Adafactor"}
)
# Names of the functions of a module and of their parameters.
FUNCTIONS = frozenset(
    {"models", "batch", "rows", "lr", "data", "index", "params", "rest", "opt_state", "total", "terms", "loss", "step"}
    | {"evaluate", "scores", "optimizer", "optimizers", "build", "init", "update"}
    | {"slow", "follow", "state", "initial_state", "clock", "statistics", "learned", "tracked"}
)

# What to call the result of an operation that nobody named.
WORDS = {
    "loop": "last",
    "choose": "chosen",
    "add": "shifted",
    "sub": "difference",
    "mul": "product",
    "div": "ratio",
    "pow": "power",
    "matmul": "product",
    "einsum": "product",
    "sum": "summed",
    "mean": "average",
    "max": "highest",
    "min": "lowest",
    "abs": "magnitude",
    "exp": "exponent",
    "log": "logarithm",
    "sqrt": "root",
    "rsqrt": "scale",
    "square": "squared",
    "var": "variance",
    "std": "deviation",
    "argmax": "best",
    "softmax": "probabilities",
    "log_softmax": "log_probabilities",
    "reshape": "reshaped",
    "transpose": "transposed",
    "rearrange": "rearranged",
    "concat": "joined",
    "stack": "stacked",
    "slice": "part",
    "pad": "padded",
    "take": "taken",
    "gather": "gathered",
    "normalize": "normalized",
    "conv": "features",
    "max_pool": "pooled",
    "avg_pool": "pooled",
    "cross_entropy": "entropy",
    "uniform": "noise",
    "normal": "noise",
    "bernoulli": "mask",
    "eq": "equal",
    "cast": "converted",
    "where": "chosen",
    "clip": "clipped",
    "one_hot": "one_hot",
    "iota": "positions",
    "eye": "identity",
}


# What modules have of their own: no weight or child may be called so.
MODULE_ATTRIBUTES = frozenset(
    {"forward", "evaluate", "train", "eval", "training", "parameters", "named_parameters", "buffers", "modules", "type"}
    | {"children", "state_dict", "half", "float", "double", "to", "cpu", "cuda", "apply", "compile", "bfloat16", "sow"}
    | {"perturb", "iter_modules", "iter_children"}
)


class Scope:
    """The names of one function, class or module: `fresh` gives each name once.

    >>> scope = Scope({"conv"})
    >>> [scope.fresh(wish) for wish in ("x", "x", "conv", "lambda", "a b", "Net", "Net")]
    ['x', 'x_2', 'conv_2', 'lambda_2', 'a_b', 'Net', 'Net2']
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*keyword.kwlist, *taken}

    def fresh(self, wish: str) -> str:
        stem = identifier(wish)
        separator = "" if stem[0].isupper() and not stem[-1].isdigit() else "_"
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}{separator}{count}"
        self._taken.add(name)
        return name

    def reserve(self, name: str) -> None:
        self._taken.add(name)


def variables(taken: Iterable[str] = ()) -> Scope:
    """The scope of a function or method: nothing that every module means something by is given."""
    return Scope({*RESERVED, *taken})


def attributes() -> Scope:
    """The scope of the attributes of a module."""
    return Scope(MODULE_ATTRIBUTES)


def identifier(text: str) -> str:
    """`text` with everything that Python does not allow in a name replaced; keywords are left as they are.

    >>> identifier("blocks.0"), identifier("2nd"), identifier("")
    ('blocks_0', 'n2nd', 'value')
    """
    name = re.sub(r"\W+", "_", text).strip("_")
    return f"n{name}" if name[:1].isdigit() else name or "value"


def camel(text: str) -> str:
    """A class name.

    >>> camel("tiny_vit"), camel("conv2d"), camel("Net")
    ('TinyVit', 'Conv2d', 'Net')
    """
    return "".join(part[:1].upper() + part[1:] for part in identifier(text).split("_"))


def singular(text: str) -> str:
    """What one element of the list `text` is called.

    >>> singular("blocks"), singular("branches"), singular("layer"), singular("loss")
    ('block', 'branch', 'layer_', 'loss_')
    """
    for ending, replacement in (("ies", "y"), ("ches", "ch"), ("ss", "ss_"), ("s", "")):
        if text.endswith(ending) and len(text) > len(ending):
            return text.removesuffix(ending) + replacement
    return f"{text}_"


def word(operation: str) -> str:
    """A variable name for the result of an operation that has no name of its own."""
    return WORDS.get(operation, operation)
