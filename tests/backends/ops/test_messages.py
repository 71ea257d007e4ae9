"""Operands that do not fit are refused with both shapes, the axis, and the reason."""

from __future__ import annotations

import re
from typing import Any

import pytest

from etude.backends.ops import OperandError
from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Literal
from etude.backends.program.types import TensorType

ITEMS = (("slice", 0, 4),)


def kind(text: str) -> TensorType:
    match = re.fullmatch(r"(\w+)\[(.*)\]", text)
    assert match is not None
    return TensorType(match[1], tuple(b if d == "b" else int(d) for d in match[2].split(",") if d))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "operands", "attributes", "message", "hint"),
    [
        (
            "add",
            ["float32[b,3]", "float32[b,4]"],
            {},
            r"\[b, 3\] and \[b, 4\] do not fit: axis -1 is 3 and 4",
            "equal, or 1",
        ),
        ("add", ["float32[b,3]", "float32[b]"], {}, r"\[b, 3\] and \[b\] do not fit: axis -1 is 3 and b", "newaxis"),
        ("add", ["float32[b]", "float32[5]"], {}, r"axis -1 is b and 5", "number of rows"),
        ("and", ["float32[b]", "bool[b]"], {}, r"expected bool values, got float32\[b\]", None),
        ("gather", ["float32[b]", "float32[b]"], {}, r"expected int values, got float32\[b\]", None),
        ("sum", ["float32[b,3]"], {"axis": 2}, r"there is no axis 2 in float32\[b, 3\]", "-2 to 1"),
        ("sum", ["float32[b,3]"], {"axis": (1, -1)}, "named twice", None),
        ("sum", ["float32[]"], {"axis": 0}, "no axis 0", "single number"),
        ("argmax", ["float32[b,3]"], {"axis": (0, 1)}, "expected one axis", "flatten"),
        ("quantile", ["float32[b]"], {"q": 2.0}, "between 0 and 1, got 2.0", None),
        ("top_k", ["float32[b,3]"], {"k": 4}, "top 4 of the 3 values", None),
        (
            "reshape",
            ["float32[b,6]"],
            {"shape": (b, 4)},
            r"which holds 6\*b elements, to \[b, 4\], which holds 4\*b",
            None,
        ),
        ("reshape", ["float32[b,6]"], {"shape": (-1, 4)}, "a multiple of 4", None),
        ("reshape", ["float32[b,6]"], {"shape": (-1, -1)}, "only one dimension", None),
        ("flatten", ["float32[3]"], {"start": 2}, "from axis 2 on", None),
        ("transpose", ["float32[b,3]"], {"axes": (0,)}, "names 1 of the 2 axes", None),
        ("broadcast", ["float32[b,3]"], {"shape": (3,)}, r"stretches to \[3\], got float32\[b, 3\]", None),
        (
            "concat",
            ["float32[b,3]", "float32[b,4]"],
            {"axis": 0},
            r"cannot join float32\[b, 3\] and float32\[b, 4\]",
            "but 0",
        ),
        ("stack", ["float32[b,3]", "float32[b,4]"], {"axis": 0}, "cannot stack", "concat"),
        ("pad", ["float32[b,3]"], {"widths": (1,)}, "1 widths are given for the 2 axes", None),
        ("pad", ["float32[b,3]"], {"widths": -1}, "must not be negative", "slice"),
        ("roll", ["float32[b,3]"], {"shift": (1, 2), "axis": 0}, "2 shifts are given for 1 axes", None),
        ("split_at", ["float32[b,3]"], {"at": 4}, r"split axis 1 of float32\[b, 3\] at \[4\]", None),
        ("rearrange", ["float32[b,9]"], {"pattern": "b (h p) -> b h p"}, "sizes of `h` and `p` are not known", "p = 4"),
        (
            "rearrange",
            ["float32[b,9]"],
            {"pattern": "b (h p) -> b h p", "sizes": (("p", 2),)},
            "9 is not divisible by 2: axis 1",
            None,
        ),
        ("rearrange", ["float32[b,9]"], {"pattern": "b c d -> b c d"}, "3 axes on the left, but the tensor is", None),
        ("rearrange", ["float32[b,9]"], {"pattern": "b c -> b"}, "`c` does not match", "`mean` or `sum`"),
        ("rearrange", ["float32[b,9]"], {"pattern": "b c"}, "needs one `->`", "b h w c"),
        ("rearrange", ["float32[b,9]"], {"pattern": "b (c -> b c"}, "not closed", None),
        ("rearrange", ["float32[b,9]"], {"pattern": "b & -> b &"}, "`&` cannot stand", None),
        ("rearrange", ["float32[b,9]"], {"pattern": "b b -> b b"}, "stands twice", None),
        ("rearrange", ["float32[b,9]"], {"pattern": "b 1 -> b"}, "makes 1, but the axis has 9", None),
        ("slice", ["float32[3]"], {"items": (("index", 3),)}, "index 3 is out of range for axis 0", None),
        (
            "slice",
            ["float32[3]"],
            {"items": (("index", 0), ("index", 0))},
            "2 positions are given for the 1 axes",
            None,
        ),
        ("slice", ["float32[3]"], {"items": (("slice", None, b),)}, "fixed length 3", None),
        ("take_along", ["float32[b,3]", "int32[b]"], {}, "must have the 2 axes", None),
        ("take_along", ["float32[b,3]", "int32[4,3]"], {}, "axis 0 is b in", "but 1"),
        (
            "scatter_add",
            ["float32[5,2]", "int32[4]", "float32[4]"],
            {},
            r"expected values of shape \[4, 2\]",
            "shape of the ind",
        ),
        ("segment_sum", ["float32[5,2]", "int32[4]"], {"count": 2}, "one segment for each of the 5", None),
        ("embedding", ["float32[5]", "int32[4]"], {}, r"expected a table \[entries, width\], got float32\[5\]", None),
        (
            "matmul",
            ["float32[b,3]", "float32[4,5]"],
            {},
            r"float32\[b, 3\] @ float32\[4, 5\]: axis -1 of the left is 3",
            "equal",
        ),
        ("matmul", ["float32[b,3]", "float32[5,3]"], {}, "cannot multiply", "transpose"),
        ("matmul", ["float32[]", "float32[5,3]"], {}, "single number", None),
        ("einsum", ["float32[b,3]", "float32[4,5]"], {"equation": "ij,jk->ik"}, "`j` is 3 in one tensor and 4", None),
        ("einsum", ["float32[b,3]"], {"equation": "ij,jk->ik"}, "describes 2 tensors, but 1", None),
        ("einsum", ["float32[b,3]"], {"equation": "ij"}, "expected letters", None),
        ("einsum", ["float32[b,3]"], {"equation": "ij->ik"}, "`k` of the result", None),
        ("einsum", ["float32[b,3]"], {"equation": "ijk->ik"}, "names 3 axes", None),
        ("einsum", ["bool[b,3]"], {"equation": "ij->i"}, "multiplies numbers", None),
        ("solve", ["float32[3,2]", "float32[3]"], {}, "square matrix", None),
        ("solve", ["float32[3,3]", "float32[2]"], {}, r"the matrix is float32\[3, 3\], but the right side is", None),
        (
            "conv",
            ["float32[b,8,8,3]", "float32[3,3,1,4]"],
            {},
            r"has 3 channels, but the kernel .* takes 1",
            "channels in",
        ),
        ("conv", ["float32[b,8]", "float32[3,3,1,4]"], {}, r"takes \[H, W, channels\], with or without a batch", None),
        ("conv", ["float32[b,2,2,1]", "float32[3,3,1,4]"], {"padding": "valid"}, "does not fit into", "same"),
        ("conv", ["float32[b,8,8,1]", "float32[3,3,1,4]"], {"padding": "full"}, 'got "full"', None),
        ("conv", ["float32[b,8,8,1]", "float32[3,3,1,4]"], {"stride": (1, 2, 3)}, "stride has 3 numbers", None),
        ("conv", ["float32[b,8,8,2]", "float32[3,3,1,3]"], {"groups": 2}, "2 groups do not divide the 3", None),
        ("conv", ["float32[b,b,8,1]", "float32[3,3,1,4]"], {}, "depends on the batch", None),
        ("max_pool", ["float32[b,2,2,1]"], {"size": 3}, r"window of \[3, 3\] does not fit", "same"),
        ("resize", ["float32[b,2,2,1]"], {"shape": (4, 4), "method": "cubic"}, 'got "cubic"', None),
        ("standardize", ["float32[b,6]", "float32[5]"], {"has": ("x", "scale")}, r"expected scale \[6\], got", "last"),
        ("attention", ["float32[b,4,3]", "float32[b,5,2]", "float32[b,5,3]"], {}, "different widths", None),
        (
            "attention",
            ["float32[b,4,3]", "float32[b,5,3]", "float32[b,4,3]"],
            {},
            "different numbers of positions",
            None,
        ),
        (
            "cross_entropy",
            ["float32[b,5]", "int32[b,5]"],
            {},
            r"need labels of shape \[b\], got int32\[b, 5\]",
            "classes",
        ),
        ("cross_entropy", ["float32[b,5]", "int32[b]"], {"reduce": "sum"}, 'got "sum"', None),
        ("cross_entropy", ["float32[b,5]", "int32[b]", "bool[b,1]"], {}, r"`where` must have the shape \[b\]", None),
        ("binary_cross_entropy", ["float32[b,5]", "float32[b]"], {}, "one target for each logit", None),
        ("dropout", ["float32[b]"], {"rate": 1.0}, "between 0 and 1", None),
        ("random_shift", ["float32[b]"], {"max_shift": 1}, "expected an image", None),
    ],
)
def test_operands_that_do_not_fit_are_refused(
    harness: Any, name: str, operands: list[str], attributes: dict[str, Any], message: str, hint: str | None
) -> None:
    build = Builder("refused")
    values = [build.input(f"x{i}", kind(text)) for i, text in enumerate(operands)]
    with pytest.raises(OperandError, match=message) as caught:
        build.apply(name, values, harness.complete(name, attributes))
    assert (hint or "") in (caught.value.hint or "")


def test_the_operand_to_blame_is_named() -> None:
    build = Builder("refused")
    x, y = build.input("x", kind("float32[b,3]")), build.input("y", kind("float32[4,5]"))
    with pytest.raises(OperandError) as caught:
        build.apply("matmul", [x, y])
    assert caught.value.operand == 1
    with pytest.raises(OperandError) as caught:
        build.apply("where", [Literal(True), x, y])
    assert caught.value.operand == 2
