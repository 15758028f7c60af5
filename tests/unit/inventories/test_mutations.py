"""Every file, however broken, is read or reported line by line; it never causes a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from inventories import BadEnvironment, Environment, Repository, reference
from inventories.overrides import PREFIX
from inventories.reading import TableOf
from tests.parts.examples import examples
from tests.unit.inventories.conftest import lay_out

SHIPPED = Path(__file__).parents[3] / "inventories"
TEXTS = [(SHIPPED / f"{name}.toml").read_text() for name in Repository.find(SHIPPED.parent).names()] + [reference()]

SCALARS = [
    *(
        "3",
        "-1",
        "0",
        "1.5",
        "inf",
        "nan",
        "true",
        '""',
        '"x"',
        '"\\u0000"',
        '"\\n"',
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "'''a'''",
    ),
    *("1979-05-27", "07:32:00", "9" * 400, "0x" + "f" * 5000, '{ env = "X" }', '["a", 3]', '"postgresql://["', '"🦔"'),
    *('"* * * * *"', '"@daily"', '"0 0 L/2 * *"', '"99999999999d"', '"s3://x"', '"[::1]:22"', '"%"', '{ ssh = "a" }'),
]

lines_of = st.sampled_from(TEXTS).map(str.splitlines)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid file in which lines are removed, doubled or swapped, values replaced, and characters inserted."""
    lines = list(draw(lines_of))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["lose", "double", "swap", "value", "key", "insert"]))
        lines = _mutate(draw, lines, at, change) or [""]
    return "\n".join(lines)


def _mutate(draw: st.DrawFn, lines: list[str], at: int, change: str) -> list[str]:
    key, equals, value = lines[at].partition(" = ")
    other = draw(st.integers(0, len(lines) - 1))
    changed = {
        "lose": [],
        "double": [lines[at], lines[at]],
        "swap": [lines[other]],
        "value": [f"{key}{equals}{draw(st.sampled_from(SCALARS))}"],
        "key": [f"{draw(st.text(max_size=8))}{equals}{value}"],
        "insert": [lines[at] + draw(st.text(max_size=3))],
    }[change]
    return [*lines[:at], *changed, *lines[at + 1 :]]


@examples(250, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_a_mutated_file_is_read_or_reported(text: str) -> None:
    check_faults(text.encode(errors="replace"))


@examples(100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_reported(content: bytes) -> None:
    check_faults(content)


def check_faults(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = lay_out(Path(folder))
        (root / "inventories" / "staging.toml").write_bytes(content)
        lines = faults_of(root)
        assert all(line.startswith("inventories/staging.toml: ") for line in lines)
        assert all(line.isprintable() and len(line) < 600 for line in lines)


def faults_of(root: Path) -> tuple[str, ...]:
    try:
        Repository.find(root).read("staging")
    except BadEnvironment as bad:
        return bad.lines
    return ()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "*", "a/b", "1d"]),
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["ssh", "env", "url", "x", "keep"]), below)
    ),
    max_leaves=5,
)


@examples(200)
@given(st.data())
def test_any_value_under_any_key_is_read_or_reported(data: st.DataObject) -> None:
    import tomllib

    from inventories.reading import Position

    document = tomllib.loads(reference())
    table = document[data.draw(st.sampled_from(sorted(document)))]
    for _ in range(2):
        name = data.draw(st.sampled_from(sorted(table)))
        if isinstance(table[name], dict) and table[name] and data.draw(st.booleans()):
            table = table[name]
            continue
        table[name] = data.draw(VALUES)
        break
    position = Position("f", Path("/"))
    TableOf(Environment).read(document, position)
    assert all(isinstance(text, str) and "\n" not in text for _, text in position.faults)


@examples(100)
@given(st.dictionaries(st.text("ABSTORE_KPURL", max_size=30), st.text(max_size=20), max_size=3))
def test_any_variables_are_applied_or_reported(variables: dict[str, str]) -> None:
    import tomllib

    from inventories.overrides import apply_overrides

    named = {f"{PREFIX}{name}": text for name, text in variables.items()}
    overrides, faults = apply_overrides(tomllib.loads(reference()), TableOf(Environment), named)
    assert len(overrides) + len(faults) == len(named)
