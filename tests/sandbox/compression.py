"""The compressions of ClickHouse's HTTP interface: Content-Encoding both ways, and ClickHouse's own checksummed
blocks.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib

import brotli
import lz4.block
import lz4.frame
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

# In the order in which ClickHouse prefers them whatever the client lists first (measured on 25.8)
PREFERENCE = ("zstd", "br", "lz4", "gzip", "deflate", "xz")

_HEADER = struct.Struct("<BII")  # method, size with this header, size before compression
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02


class UnknownCompression(ValueError):
    """The name is none of ClickHouse's content encodings."""


class BrokenCompression(ValueError):
    """The data is not what its compression says."""


def choose(accept: str) -> str | None:
    """The encoding ClickHouse answers with for an Accept-Encoding header: it looks for the names in it, and at no
    weights.
    """
    return next((name for name in PREFERENCE if name in accept), None)


def encode(name: str, data: bytes) -> bytes:
    """Compress a response."""
    if name == "zstd":
        return zstandard.ZstdCompressor().compress(data)
    if name == "br":
        return bytes(brotli.compress(data, quality=1))
    if name == "lz4":
        return bytes(lz4.frame.compress(data))
    if name == "gzip":
        return gzip.compress(data, 3)
    if name == "deflate":
        return zlib.compress(data, 3)
    if name == "xz":
        return lzma.compress(data)
    raise UnknownCompression(name)


def decode(name: str, data: bytes) -> bytes:
    """Decompress a request, which may be several compressed pieces one after the other (not with brotli). Raises
    UnknownCompression, or BrokenCompression where the data does not fit.
    """
    try:
        if name in ("", "identity", "none"):
            return data
        if name == "zstd":
            return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
        if name == "br":
            return bytes(brotli.decompress(data))
        if name == "lz4":
            return bytes(lz4.frame.open(io.BytesIO(data)).read())
        if name in ("gzip", "x-gzip"):
            return gzip.decompress(data)
        if name == "deflate":
            return zlib.decompress(data)
        if name == "xz":
            return lzma.decompress(data)
        if name == "bz2":
            return bz2.decompress(data)
    except (zstandard.ZstdError, brotli.error, RuntimeError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BrokenCompression(str(error)) from error
    raise UnknownCompression(name)


def _checksum(data: bytes) -> bytes:
    value = CityHash128(data)
    return struct.pack("<QQ", value >> 64, value & 0xFFFFFFFFFFFFFFFF)


def encode_blocks(data: bytes, size: int = 1 << 20) -> bytes:
    """`data` as ClickHouse's compressed blocks (HTTP parameter `compress=1`), each LZ4 behind a CityHash128."""
    blocks = []
    for start in range(0, len(data), size):
        part = data[start : start + size]
        packed = lz4.block.compress(part, store_size=False)
        block = _HEADER.pack(_LZ4, len(packed) + _HEADER.size, len(part)) + packed
        blocks.append(_checksum(block) + block)
    return b"".join(blocks)


def decode_blocks(data: bytes) -> bytes:
    """The content of compressed blocks (HTTP parameter `decompress=1`). Raises BrokenCompression."""
    parts = []
    at = 0
    while at < len(data):
        if len(data) - at < 16 + _HEADER.size:
            raise BrokenCompression(
                f"Cannot read all data. Bytes read: {len(data) - at}. Bytes expected: {16 + _HEADER.size}."
            )
        method, packed_size, size = _HEADER.unpack_from(data, at + 16)
        block = data[at + 16 : at + 16 + packed_size]
        if _checksum(block) != data[at : at + 16]:
            raise BrokenCompression("Checksum doesn't match: corrupted data.")
        packed = block[_HEADER.size :]
        if method == _LZ4:
            parts.append(lz4.block.decompress(packed, uncompressed_size=size))
        elif method == _ZSTD:
            parts.append(zstandard.ZstdDecompressor().decompress(packed, max_output_size=size))
        elif method == _NONE:
            parts.append(packed)
        else:
            raise BrokenCompression(f"Unknown codec family code: {method}.")
        at += 16 + packed_size
    return b"".join(parts)
