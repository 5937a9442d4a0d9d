import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.selection import parse_columns, parse_condition, select

COLUMNS = {
    "srcid": np.array([1, 2, 3, 4]),
    "flux": np.array([10.0, 20.0, 30.0, np.nan]),
    "chi2/dof": np.array([0.5, 3.5, 1.5, 1.0]),
    "BlendSize": np.array([1, 2, 7, 1]),
    "deblend": np.array(["N", "PA", "A", "N"]),
}


def rows(text):
    return (np.flatnonzero(select(text, COLUMNS).rows) + 1).tolist()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", [1, 2, 3, 4]),
        ("  ", [1, 2, 3, 4]),
        ("flux > 10", [2, 3]),
        ("flux>=10", [1, 2, 3]),
        ("flux < 2e1", [1]),
        ("flux <= 20.", [1, 2]),
        ("flux = 20", [2]),
        ("FLUX == 20", [2]),
        ("flux != 20", [1, 3]),
        ("15 < flux", [2, 3]),
        ("15 < flux < 25", [2]),
        ("flux > -.5", [1, 2, 3]),
        ("chi2/dof<3", [1, 3, 4]),
        ("chi2/dof < flux", [1, 2, 3]),
        ("BlendSize < 5 and flux > 10", [2]),
        ("deblend_size < 5 AND flux > 10", [2]),
        ("flux < 15 or flux > 25", [1, 3]),
        ("flux < 15 or flux > 25 and BlendSize == 7 and srcid == 9", [1]),
        ("(flux < 15 or flux > 25) and BlendSize == 7", [3]),
        ("not flux > 15", [1, 4]),
        ("not (flux > 15 or srcid == 1)", [4]),
        ("!(flux > 15) && srcid != 1 || srcid = 2", [2, 4]),
        ("deblend == 'N'", [1, 4]),
        ('deblend != "N" and flux > 0', [2, 3]),
        ("1 > 2", []),
        ('"flux > 10"', [2, 3]),
        ("'deblend == \"A\"'", [3]),
    ],
)
def test_rows(text, expected):
    assert rows(text) == expected


def test_counts_of_the_clauses():
    found = select("BlendSize < 5 and (flux > 10 or srcid == 1) and chi2/dof<3", COLUMNS)
    assert found.counts == [
        ("BlendSize < 5", 3, 3),
        ("(flux > 10 or srcid == 1)", 3, 2),
        ("chi2/dof<3", 3, 1),
    ]


def test_a_condition_with_or_is_one_clause():
    assert select("flux > 25 or srcid < 3 and flux > 5", COLUMNS).counts == [
        ("flux > 25 or srcid < 3 and flux > 5", 3, 3)
    ]


def test_empty_table():
    empty = {name: values[:0] for name, values in COLUMNS.items()}
    assert select("flux > 3 and 1 < 2", empty).rows.shape == (0,)


@pytest.mark.parametrize(
    "text, message",
    [
        ("flux", "a comparison .* expected behind flux, the end found"),
        ("flux >", "a column or a number expected, the end found"),
        ("> 3", "a column or a number expected, '>' found"),
        ("flux > 3 and", "a column or a number expected, the end found"),
        ("flux > 3 srcid < 2", "'and' or 'or' expected, 'srcid' found"),
        ("(flux > 3", "'\\)' expected, the end found"),
        ("flux > 3)", "'and' or 'or' expected, '\\)' found"),
        ("flux ~ 3", "cannot read '~ 3'"),
        ("flux > 3abc", "cannot read '3abc'"),
        ("deblend == 'N", 'cannot read "\'N"'),
        ("(" * 400 + "flux > 3" + ")" * 400, "nested"),
        ("not " * 400 + "flux > 3", "nested"),
        ("__import__('os')", "a comparison"),
    ],
)
def test_what_is_no_condition(text, message):
    with pytest.raises(ValueError, match=message):
        parse_condition(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("flx > 3", r"no column flx; did you mean flux\?"),
        ("zzz > 3", "no column zzz; the columns are srcid, flux, "),
        ("deblend > 3", "deblend is text and cannot be compared with 3"),
        ("flux == 'N'", "N is text and cannot be compared with flux"),
    ],
)
def test_what_does_not_fit_the_table(text, message):
    with pytest.raises(ValueError, match=message):
        select(text, COLUMNS)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", list(COLUMNS)),
        (" , ", list(COLUMNS)),
        ("flux, srcid", ["flux", "srcid"]),
        ("SRCID Flux,chi2/DOF", ["srcid", "flux", "chi2/dof"]),
        ('"srcid, flux, deblend_size"', ["srcid", "flux", "BlendSize"]),
        ("flux, flux", ["flux"]),
    ],
)
def test_columns(text, expected):
    assert parse_columns(text, list(COLUMNS)) == expected


def test_unknown_column():
    with pytest.raises(ValueError, match=r"no column BlndSize; did you mean BlendSize\?"):
        parse_columns("flux, BlndSize", list(COLUMNS))


WORDS = st.sampled_from(
    ["flux", "chi2/dof", "deblend", "x", "3", "-1e5", "'N'", "and", "or", "not", "(", ")", "<", "=="]
)


@settings(max_examples=200)
@given(st.one_of(st.lists(WORDS, max_size=12).map(" ".join), st.text(max_size=20)))
def test_any_text_selects_or_raises_value_error(text):
    try:
        found = select(text, COLUMNS)
    except ValueError:
        return
    assert found.rows.dtype == bool
    assert found.rows.shape == (4,)


@given(st.floats(-5, 40), st.floats(-5, 40))
def test_selection_agrees_with_numpy(low, high):
    flux = COLUMNS["flux"]
    expected = (flux > low) & ~(flux >= high)
    assert (select(f"flux > {low!r} and not flux >= {high!r}", COLUMNS).rows == expected).all()
