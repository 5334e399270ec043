"""Marks for parametrised tests of which most take long."""

from collections.abc import Iterable

import pytest


def slow_but(names: Iterable[str], *quick: str) -> list:
    """All of `names`; those that are not `quick` are slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]
