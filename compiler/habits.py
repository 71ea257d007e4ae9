"""What functions and methods of other languages and libraries are called here."""

from __future__ import annotations

from collections.abc import Mapping

SAME: Mapping[str, str] = {
    "concatenate": "concat", "cat": "concat", "vstack": "concat", "hstack": "concat", "array": "tensor",
    "asarray": "tensor", "as_tensor": "tensor", "Tensor": "tensor", "randn": "normal", "rand": "uniform",
    "multinomial": "categorical", "sorted": "sort", "permute": "transpose", "view": "reshape", "absolute": "abs",
    "randperm": "permutation", "str": "string", "print": "string", "avgpool": "avg_pool", "maxpool": "max_pool",
    "scatter": "scatter_add", "topk": "top_k", "onehot": "one_hot", "logistic": "logistic_regression",
    "forest": "random_forest", "kmeans": "k_means", "relu6": "relu", "nll_loss": "cross_entropy",
    "mse_loss": "mse", "clamp": "clip", "clip_by_value": "clip", "Sequential": "chain", "sequential": "chain",
}  # fmt: skip
"""Other names of the same function."""
WRITTEN: Mapping[str, str] = {
    "range": "a range has both of its ends: 0..4 is five numbers",
    "enumerate": "number the elements: [f(i, xs[i]) for i in 0..len(xs) - 1]",
    "arange": "iota(n) is 0, 1, .. n - 1; in the workflow, write 0..4",
    "linspace": "iota(n) counts from 0: a + (b - a) * iota(n) / (n - 1)",
    "matmul": "write a @ b", "dot": "write a @ b, or sum(a * b)", "mm": "write a @ b", "bmm": "write a @ b",
    "pow": "write a ** b", "power": "write a ** b", "mod": "write a % b", "subtract": "write a - b",
    "add": "write a + b", "multiply": "write a * b", "divide": "write a / b", "equal": "write a == b",
    "expand_dims": "write x[..., newaxis]", "unsqueeze": "write x[..., newaxis]",
    "squeeze": "write x[..., 0], or reshape(x, ...)", "reverse": "write xs[::-1]", "reversed": "write xs[::-1]",
    "median": "write quantile(x, 0.5)", "append": "write xs + [x]", "extend": "write xs + ys",
    "join": "texts are joined by +", "format": "write \"width \" + string(64)", "pow2": "write 2 ** n",
    "detach": "write stop(x)", "no_grad": "write stop(x), or frozen(m) for a model",
    "backward": "write grad(value, wrt = x)",
    "fit_transform": "write s = fit(estimator, on = d), then map(d, row => {...row, x: s(row.x)})",
}  # fmt: skip
"""What has no function, and is written otherwise."""
TARGET = "where a recipe runs is a matter of its target: etude run --target gpu"
FIELDS: Mapping[str, str] = {
    "item": "a measured number is used as it is", "numpy": "a tensor is used as it is",
    "astype": "write float(x), int(x) or bool(x)", "keys": "a record's fields are known: name them",
    "values": "a record's fields are known: write [r.a, r.b]", "items": "a record's fields are known: write [r.a, r.b]",
    "with": "make a new record with one field replaced: {...r, a: 1}", "T": "write transpose(x)",
    "size": "write x.shape", "ndim": "write len(x.shape)", "parameters": "write size(m).parameters, or weights(m)",
    "state_dict": "write weights(m)", "eval": "a model is in training exactly where a stage updates it",
    "cuda": TARGET, "to": TARGET, "device": TARGET,
}  # fmt: skip
"""Fields and methods that are written otherwise."""


def written_here(name: str, *, is_field: bool = False) -> str | None:
    """How what another language calls `name` is written, as a function or a field."""
    return WRITTEN.get(name) or (FIELDS.get(name) if is_field else None)
