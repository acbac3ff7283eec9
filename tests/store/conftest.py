"""Fixtures of the tests that call the hub's services directly."""

from __future__ import annotations

import pytest

from hub.app import Services
from tests.kit.direct import Shoes


@pytest.fixture
def shoes(services: Services) -> Shoes:
    """A group with a bank, on each kind of database."""
    return Shoes(services)
