"""Every feature has an end-to-end test that sets it to something other than its default and sees its effect."""

import re

from conftest import ROOT
from features import TABLE, WITHOUT, features, matcher, tables

FEATURES, TABLES = features(), tables()


def test_every_feature_has_a_row():
    known = [matcher(pattern) for patterns in (*TABLES.values(), WITHOUT) for pattern in patterns]
    assert sorted(name for name in FEATURES if not any(row.fullmatch(name) for row in known)) == []


def test_every_row_names_features_that_exist():
    rows = {pattern for patterns in (*TABLES.values(), WITHOUT) for pattern in patterns}
    assert sorted(row for row in rows if not any(map(matcher(row).fullmatch, FEATURES))) == []


def test_every_row_names_a_test_that_exists():
    files = {test: test.partition("[")[0].split("::") for test in TABLES}
    missing = [test for test, (file, name) in files.items() if f"\ndef {name}(" not in (ROOT / file).read_text()]
    assert missing == []


def test_the_tests_name_what_their_rows_tell():
    """Words of the features that a row spells out stand in the file of its test.

    Arguments from Python need no name, and the tests of keys read theirs from a recipe.
    """
    silent = []
    for test, patterns in TABLE.items():
        if "_keys.py" in test:
            continue
        text = (ROOT / test.partition("::")[0]).read_text()
        for pattern in patterns.split("; "):
            _, _, last = re.sub(r"\{[^}]*\}(?=.)", "", pattern).rpartition(" ")
            words = re.sub(r"[{}*]|\w+=", " ", last).replace(".", " ").replace(",", " ").split()
            named = [max(re.split("[_-]", word), key=len) for word in words if not pattern.startswith("door")]
            silent += [f"{test}: {word}" for word in named if word not in text]
    assert silent == []
