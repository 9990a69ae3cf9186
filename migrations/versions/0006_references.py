"""Reference results: sets of them with their provenance, and their rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reference_sets",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("competition", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("track", sa.String(length=64), nullable=True),
        sa.Column("suite", sa.String(length=128), nullable=True),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("row_count", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("importer", sa.String(length=64), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_sets")),
        sa.UniqueConstraint("competition", "name", "version", name=op.f("uq_reference_sets_competition_name_version")),
    )
    op.create_table(
        "reference_rows",
        sa.Column("set_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("scale", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_id"], ["reference_sets.id"], name=op.f("fk_reference_rows_set_id_reference_sets")
        ),
        sa.PrimaryKeyConstraint("set_id", "place", name=op.f("pk_reference_rows")),
    )


def downgrade() -> None:
    op.drop_table("reference_rows")
    op.drop_table("reference_sets")
