import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tomli_w import dumps

from imcswav.recipe.toml_lines import TomlLines

TEXT = '''\
# comment with = and [brackets]
name = "a # b"   # 2
"quoted key" = 1
'single."x"' = 2
a.b . "c.d" = 3

[table]   # 7
x = """
y = 1
[no]
""" # 8-11
y = [
  1, # 13
  { k = "}", l = [ 2 ] }, # 14
  [
    3, 4 ], # 16
]
z = \'\'\'
'' ]
\'\'\'
"\\u00e9" = 1979-05-27T07:32:00Z

[[many]]
v = 1
[many.inner]
w = 2
[[many]]
v = { p.q = 1, "r s" = 2 }
  [[many.sub]]
  s = 0
  [[many.sub]]
  s = 1
[deep.down.there]
'''

PLACES = {
    ("name",): 2,
    ("quoted key",): 3,
    ('single."x"',): 4,
    ("a", "b", "c.d"): 5,
    ("a", "b"): 5,
    ("table",): 7,
    ("table", "x"): 8,
    ("table", "y"): 12,
    ("table", "y", 0): 13,
    ("table", "y", 1, "k"): 14,
    ("table", "y", 1, "l", 0): 14,
    ("table", "y", 2): 15,
    ("table", "y", 2, 1): 16,
    ("table", "z"): 18,
    ("table", "é"): 21,
    ("many",): 23,
    ("many", 0): 23,
    ("many", 0, "v"): 24,
    ("many", 0, "inner", "w"): 26,
    ("many", 1): 27,
    ("many", 1, "v", "p", "q"): 28,
    ("many", 1, "v", "r s"): 28,
    ("many", 1, "sub", 0, "s"): 30,
    ("many", 1, "sub", 1): 31,
    ("many", 1, "sub", 1, "s"): 32,
    ("deep", "down"): 33,
    ("deep", "down", "there"): 33,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_line_of_every_kind_of_key(place, newline):
    tomllib.loads(TEXT)  # the text itself has to be valid
    assert TomlLines(TEXT.replace("\n", newline)).lines[place] == PLACES[place]


def _paths(value, path=()):
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(entry, (*path, key))


_values = st.recursive(
    st.integers(-99, 99) | st.text(max_size=8) | st.booleans() | st.floats(allow_nan=False) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), _values, max_size=4), st.booleans())
def test_finds_every_path_of_what_a_writer_writes(tables, multiline):
    text = dumps(tables, multiline_strings=multiline)
    parsed = tomllib.loads(text)
    lines = TomlLines(text)
    assert set(lines.lines) == set(_paths(parsed))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.lines.values())
