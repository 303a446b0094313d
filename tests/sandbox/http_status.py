"""The HTTP status with which ClickHouse answers an exception."""

from __future__ import annotations

# Codes that do not answer 500: swept with throwIf over all codes of 25.8
_STATUS = {
    **dict.fromkeys(
        (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
        400,
    ),
    194: 401,
    **dict.fromkeys((192, 193, 512, 516), 403),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    159: 408,
    381: 411,
    229: 413,
    48: 501,
    **dict.fromkeys((76, 209, 439), 503),
}


def status_of(code: int) -> int:
    """The status for an exception of this code, met before the result began."""
    return _STATUS.get(code, 500)
