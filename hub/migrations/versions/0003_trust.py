"""Admissions, agents, witnesses, approvals: what makes an identity, a log and a decision checkable."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each table below belongs to the store that reads it."""
