"""Tokens of single attempts, and which device a result was computed on for how long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.add_column(sa.Column("token_id", Number, nullable=True))
        table.add_column(sa.Column("token_digest", sa.String(length=64), nullable=True))
        table.create_foreign_key(op.f("fk_jobs_token_id_tokens"), "tokens", ["token_id"], ["id"])
    with op.batch_alter_table("task_results") as table:
        table.add_column(sa.Column("device", sa.Text(), nullable=True))
        table.add_column(sa.Column("device_seconds", sa.Float(precision=53), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("task_results") as table:
        table.drop_column("device_seconds")
        table.drop_column("device")
    with op.batch_alter_table("jobs") as table:
        table.drop_constraint(op.f("fk_jobs_token_id_tokens"), type_="foreignkey")
        table.drop_column("token_digest")
        table.drop_column("token_id")
