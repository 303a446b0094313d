"""A vars file says what the data said, whatever it holds."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.filter.vars_yaml import vars_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | st.sampled_from(
    [
        "{{ name }}",
        "{% if %}",
        "{# no #}",
        "yes",
        "0x10",
        "1e3",
        "null",
        "~",
        "a: b",
        "'",
        '"',
        "\\",
        "a\nb",
        " x ",
        "!x",
    ]
)
DATA = st.recursive(
    TEXTS | st.booleans() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8
)


def read(text: str) -> Any:
    """As Ansible reads a vars file and uses what is in it."""
    loader = DataLoader()
    return Templar(loader=loader).template(loader.load(text))


@given(DATA)
def test_it_comes_back(data: Any) -> None:
    assert read(vars_yaml({"all": data})) == {"all": data}


@pytest.mark.parametrize("text", ["{{ 1 + 1 }}", "x {% raw %}"])
def test_a_template_stays_text(text: str) -> None:
    assert "!unsafe" in vars_yaml([text])
    assert read(vars_yaml([text])) == [text]
