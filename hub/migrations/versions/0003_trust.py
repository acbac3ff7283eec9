"""Admissions, agents, witnesses, approvals: what makes an identity, a log and a decision checkable."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each table below belongs to the store that reads it."""
    op.create_table(
        "agent",
        sa.Column("member", sa.String(80), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.Column("revoke_time", sa.BigInteger()),
        sa.ForeignKeyConstraint(["member"], ["member.name"], name="fk_agent_member_member"),
        sa.PrimaryKeyConstraint("member", "name", name="pk_agent"),
    )
    # Agents that enrolled before: all that is known of them is their certificates.
    op.execute(
        "INSERT INTO agent (member, name, create_time, expire_time, revoke_time) "
        "SELECT subject, agent, MIN(issue_time), MAX(not_after), "
        "CASE WHEN COUNT(*) = COUNT(revoke_time) THEN MAX(revoke_time) END "
        "FROM certificate WHERE agent <> '' GROUP BY subject, agent"
    )
    op.create_table(
        "audit_cosignature",
        sa.Column("member", sa.String(80), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("witness_key", sa.LargeBinary(32), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["member"], ["member.name"], name="fk_audit_cosignature_member"),
        sa.PrimaryKeyConstraint("member", name="pk_audit_cosignature"),
    )
