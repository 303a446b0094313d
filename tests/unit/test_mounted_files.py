"""Mounted files: who can read them. What OpenSSL says of certificates is in tests/roles and tests/integration."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.mounted_files import Reader


@given(st.sampled_from([0, 101, 1000]), st.sampled_from([0, 101]), st.integers(0, 0o777))
def test_who_can_read_a_file(owner: int, group: int, mode: int) -> None:
    digit = mode >> 6 if owner == 101 else mode >> 3 if group == 101 else mode
    assert Reader("ClickHouse", 101, 101).can(owner, group, mode) is bool(digit & 4)
    assert Reader("ClickHouse", 0, 0).can(owner, group, mode)


def test_a_directory_is_entered_by_another_bit_than_it_is_read_by() -> None:
    reader = Reader("otel-collector", 10001, 10001)
    assert reader.can(0, 0, 0o711, 1) and not reader.can(0, 0, 0o744, 1) and not reader.can(0, 0, 0o700, 1)
