"""TensorBoard's file format: protocol buffers in framed records, written without its packages.

The messages are those of `tensorboard/compat/proto`: event, summary, tensor and the plugins "text" and "hparams". A
file is a sequence of records, each with its length and two checksums (CRC-32C, Castagnoli et al. 1993), as TFRecord has
them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FLOAT_TYPE, STRING_TYPE = 1, 7  # of tensors
TENSOR_CLASS = 2
SUCCESS, FAILURE = 1, 2  # how a session of hparams ends
POLYNOMIAL = 0x82F63B78


def record(data: bytes) -> bytes:
    """A message with its length and checksums around it."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def first_event(time: float) -> bytes:
    """What every file begins with."""
    return _double(1, time) + _text(3, "brain.Event:2")


def event(time: float, step: int, values: Iterable[bytes]) -> bytes:
    """Values noted at a time after so many steps."""
    return _double(1, time) + _number(2, step) + _message(5, b"".join(_message(1, value) for value in values))


def scalar(tag: str, value: float) -> bytes:
    return _text(1, tag) + _key(2, FIXED32) + struct.pack("<f", value)


def image(tag: str, png: bytes) -> bytes:
    """A PNG; its size stands at byte 16 of it."""
    width, height = struct.unpack(">II", png[16:24])
    return _text(1, tag) + _message(4, _number(1, height) + _number(2, width) + _number(3, 4) + _message(4, png))


def text(tag: str, markdown: str) -> bytes:
    """A text that is shown as Markdown."""
    shape = _message(2, _number(1, 1))
    tensor = _number(1, STRING_TYPE) + _message(2, shape) + _text(8, markdown)
    return _text(1, tag) + _message(8, tensor) + _plugin("text", b"")


def session_start(params: Mapping[str, object], time: float) -> bytes:
    """The hyper-parameters of a run."""
    entries = b"".join(_message(1, _text(1, name) + _message(2, _any(value))) for name, value in params.items())
    return _session("_hparams_/session_start_info", _message(3, entries + _double(5, time)))


def session_end(status: int, time: float) -> bytes:
    return _session("_hparams_/session_end_info", _message(4, _number(1, status) + _double(2, time)))


def _session(tag: str, content: bytes) -> bytes:
    empty = _number(1, FLOAT_TYPE) + _message(2, _message(2, _number(1, 0)))
    return _text(1, tag) + _message(8, empty) + _plugin("hparams", content)


def _plugin(name: str, content: bytes) -> bytes:
    return _message(9, _message(1, _text(1, name) + _message(2, content)) + _number(4, TENSOR_CLASS))


def _any(value: object) -> bytes:
    """A `google.protobuf.Value`: a number, a truth value, or text."""
    if isinstance(value, bool):
        return _number(4, int(value))
    return _double(2, float(value)) if isinstance(value, int | float) else _text(3, str(value))


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _number(field: int, value: int) -> bytes:
    return _key(field, VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, FIXED64) + struct.pack("<d", value)


def _message(field: int, data: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(data)) + data


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def crc32c(data: bytes) -> int:
    """The checksum that the format asks for.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    found = 0xFFFFFFFF
    for byte in data:
        found = TABLE[(found ^ byte) & 0xFF] ^ (found >> 8)
    return found ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    """The checksum, masked as TFRecord does, so that a checksum of checksums is no special case."""
    found = crc32c(data)
    return struct.pack("<I", ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


TABLE = _table()
