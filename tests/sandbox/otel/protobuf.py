"""The few messages that the tests exchange, in the encoding of Protocol Buffers: numbers and bytes by field number.

Field numbers are those of opentelemetry-proto (trace/v1, collector/trace/v1) and of opamp-spec (opamp.proto).
"""

from __future__ import annotations

from collections.abc import Iterator


def varint(number: int) -> bytes:
    """A number, seven bits in a byte."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes | str) -> bytes:
    """A field: a whole number, or bytes, text and messages, which look the same."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, one level deep. Raises ValueError for what none of these messages has."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        kind = key & 7
        if kind == 0:
            yield key >> 3, number()
        elif kind in (1, 2, 5):
            size = {1: 8, 5: 4}.get(kind) or number()
            yield key >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {kind} of field {key >> 3}")


def trace(span: str, nanoseconds: int) -> bytes:
    """An ExportTraceServiceRequest with one span of this name, at this moment since 1970."""
    moment = nanoseconds.to_bytes(8, "little")
    one = b"".join(
        [
            field(1, bytes(range(16))),
            field(2, bytes(range(8))),
            field(5, span),
            varint(7 << 3 | 1) + moment,
            varint(8 << 3 | 1) + moment,
        ]
    )
    return field(1, field(2, field(2, one)))


def server_to_agent(instance: bytes, capabilities: int, config: bytes, digest: bytes) -> bytes:
    """A ServerToAgent message with a remote configuration, as JSON in a file config.json."""
    file = field(1, config) + field(2, "application/json")
    files = field(1, field(1, "config.json") + field(2, file))
    return field(1, instance) + field(3, field(1, files) + field(2, digest)) + field(7, capabilities)
