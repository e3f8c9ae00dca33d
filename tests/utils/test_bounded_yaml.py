# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""YAML within limits."""

import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from splus_srgan.utils.bounded_yaml import LIMITS, check_yaml, load_yaml, read_text

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(PLAIN)
def test_plain_values_are_read_as_they_were_written(content):
    assert load_yaml(yaml.safe_dump(content)) == content


def bomb(levels):
    lines = ['a0: &a0 ["lol"]']
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(9), "anchors and aliases"),
        ("a: &a [*a]", "anchors and aliases"),
        ("<<: *other", "anchors and aliases"),
        ("[" * 3000 + "]" * 3000, "nested at most"),
        ("a: " * 30, "mapping values|nested at most"),
        ("{" * 3000, "nested at most"),
        ("- " * 3000 + "x", "nested at most"),
        ("[" + "1," * 200_000 + "]", "at most"),
        ("x" * (LIMITS["bytes"] + 1), "at most"),
        ("a: [1, 2", "expected"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("\x00", "special characters"),
    ],
)
def test_what_would_not_end_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        load_yaml(text)


def test_check_builds_nothing():
    assert check_yaml("a: 1") is None


def test_only_files_of_a_sensible_size_are_read(tmp_path):
    (tmp_path / "large").write_text("x" * (LIMITS["bytes"] + 1))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("large", "at most"),
        ("bytes", "UTF-8"),
        ("pipe", "a pipe or a device; give a regular file"),
        (".", "a folder"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            read_text(tmp_path / name)
    with pytest.raises(OSError, match="a device"):
        read_text("/dev/zero")
