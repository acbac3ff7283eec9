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
        "admission_policy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cosigners", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_admission_policy_one_row"),
        sa.CheckConstraint("cosigners >= 0", name="ck_admission_policy_cosigners_not_negative"),
        sa.PrimaryKeyConstraint("id", name="pk_admission_policy"),
    )
    # An alliance that began before goes on as it was: its operator's invitation suffices.
    op.execute("INSERT INTO admission_policy (id, cosigners) VALUES (1, 0)")
    op.create_table(
        "admission",
        sa.Column("member", sa.String(80), nullable=False),
        sa.Column("signer", sa.String(80), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["member"], ["member.name"], name="fk_admission_member_member"),
        sa.ForeignKeyConstraint(["signer"], ["member.name"], name="fk_admission_signer_member"),
        sa.PrimaryKeyConstraint("member", "signer", name="pk_admission"),
    )
    op.create_table(
        "admitted",
        sa.Column("member", sa.String(80), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["member"], ["member.name"], name="fk_admitted_member_member"),
        sa.PrimaryKeyConstraint("member", name="pk_admitted"),
    )
    op.execute("INSERT INTO admitted (member, time) SELECT name, enrol_time FROM member WHERE enrol_time IS NOT NULL")
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
    op.add_column("certificate", sa.Column("issuer", sa.String(80)))
    op.create_table(
        "authority",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("anchor", sa.LargeBinary(), nullable=False),
        sa.Column("issuer", sa.LargeBinary(), nullable=False),
        sa.Column("cross_certificate", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("announce_time", sa.BigInteger(), nullable=False),
        sa.Column("phase_time", sa.BigInteger(), nullable=False),
        sa.Column("overlap", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_authority"),
    )
    op.create_table(
        "authority_request",
        sa.Column("key_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_digest", name="pk_authority_request"),
    )
    op.add_column("key_epoch", sa.Column("previous_sealed", sa.LargeBinary()))
    # Nothing was enforced before; the default of today.
    op.add_column("bank", sa.Column("tlp", sa.Integer(), nullable=False, server_default="3"))
    op.create_table(
        "identity_change",
        sa.Column("member", sa.String(80), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("former_signing_key", sa.LargeBinary(), nullable=False),
        sa.Column("former_sealing_key", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealing_key", sa.LargeBinary(), nullable=False),
        sa.Column("former_signature", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["member"], ["member.name"], name="fk_identity_change_member_member"),
        sa.PrimaryKeyConstraint("member", "number", name="pk_identity_change"),
        sa.UniqueConstraint("former_signing_key", name="uq_identity_change_former_signing_key"),
        sa.UniqueConstraint("former_sealing_key", name="uq_identity_change_former_sealing_key"),
    )
    op.create_table(
        "action",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("method", sa.String(120), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("proposer", sa.String(80), nullable=False),
        sa.Column("propose_time", sa.BigInteger(), nullable=False),
        sa.Column("decider", sa.String(80), nullable=False),
        sa.Column("decide_time", sa.BigInteger(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("state in ('open', 'approved', 'rejected')", name="ck_action_state"),
        sa.PrimaryKeyConstraint("id", name="pk_action"),
    )
    # Rounds released what they made; the newest of it is what the next one begins from.
    op.add_column("detector", sa.Column("release_mode", sa.String(20), nullable=False, server_default="automatic"))
    op.add_column("detector", sa.Column("start_version", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("detector", sa.Column("released_version", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE detector SET start_version = number, released_version = number")
    op.create_table(
        "detector_model",
        sa.Column("detector", sa.String(80), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        sa.Column("trained_from", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["detector"], ["detector.name"], name="fk_detector_model_detector"),
        sa.ForeignKeyConstraint(["round"], ["round.id"], name="fk_detector_model_round"),
        sa.PrimaryKeyConstraint("detector", "version", name="pk_detector_model"),
    )
    op.execute(
        "INSERT INTO detector_model (detector, version, digest, round, trained_from, create_time) "
        "SELECT name, 0, COALESCE("
        "(SELECT r.model_digest FROM round r WHERE r.detector = detector.name ORDER BY r.id LIMIT 1), model_digest"
        "), NULL, 0, create_time FROM detector"
    )
    op.execute(
        "INSERT INTO detector_model (detector, version, digest, round, trained_from, create_time) "
        "SELECT detector, number, COALESCE(result_digest, model_digest), id, number - 1, end_time "
        "FROM round WHERE state = 'released'"
    )
    op.create_table(
        "policy",
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("two_admins", sa.String(16), nullable=False),
        sa.Column("least_quorum", sa.Integer(), nullable=False),
        sa.Column("strictest_ceiling", sa.Integer(), nullable=False),
        sa.Column("invitation_seconds", sa.Integer(), nullable=False),
        sa.Column("certificate_seconds", sa.Integer(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("revision >= 0", name="ck_policy_revision_not_negative"),
        sa.CheckConstraint("two_admins in ('auto', 'always', 'never')", name="ck_policy_two_admins"),
        sa.PrimaryKeyConstraint("revision", name="pk_policy"),
    )
    # Looks at tasks are for the open rounds among all that there ever were.
    op.create_index(
        "ix_round_open",
        "round",
        ["id"],
        sqlite_where=sa.text("end_time IS NULL"),
        postgresql_where=sa.text("end_time IS NULL"),
    )
