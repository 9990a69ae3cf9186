"""Re-scorings: evaluations under another suite that are published together, and jobs that let others go first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
State = sa.Enum(
    "open", "published", "cancelled", name="state", native_enum=False, create_constraint=True, length=64
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("priority", Number, server_default="0", nullable=False))
    op.create_table(
        "rescorings",
        sa.Column("id", Number, nullable=False),
        sa.Column("competition", sa.String(length=64), nullable=False),
        sa.Column("version_before", Number, nullable=False),
        sa.Column("version_after", Number, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("track", sa.String(length=64), nullable=True),
        sa.Column("scale", sa.String(length=64), nullable=True),
        sa.Column("phase", sa.String(length=64), nullable=True),
        sa.Column("fresh", sa.Boolean(), nullable=False),
        sa.Column("state", State, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rescorings")),
    )
    op.create_index(op.f("ix_rescorings_competition"), "rescorings", ["competition"], unique=False)
    op.create_index(
        "uq_rescorings_open",
        "rescorings",
        ["competition"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "rescored_entries",
        sa.Column("rescoring_id", Number, autoincrement=False, nullable=False),
        sa.Column("submission_id", sa.String(length=64), nullable=False),
        sa.Column("before_id", Number, nullable=False),
        sa.Column("evaluation_id", Number, nullable=False),
        sa.Column("job_id", Number, nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("score_before", sa.Float(precision=53), nullable=True),
        sa.Column("score_after", sa.Float(precision=53), nullable=True),
        sa.Column("rank_before", Number, nullable=True),
        sa.Column("rank_after", Number, nullable=True),
        sa.ForeignKeyConstraint(
            ["before_id"], ["evaluations.id"], name=op.f("fk_rescored_entries_before_id_evaluations")
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_rescored_entries_evaluation_id_evaluations")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_rescored_entries_job_id_jobs")),
        sa.ForeignKeyConstraint(
            ["rescoring_id"], ["rescorings.id"], name=op.f("fk_rescored_entries_rescoring_id_rescorings")
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_rescored_entries_submission_id_submissions")
        ),
        sa.PrimaryKeyConstraint("rescoring_id", "submission_id", name=op.f("pk_rescored_entries")),
        sa.UniqueConstraint("job_id", name=op.f("uq_rescored_entries_job_id")),
    )


def downgrade() -> None:
    """Back to evaluations under one suite each. Published ones under newer suites stay, and so does their table."""
    # The jobs of an open re-scoring would move the entries they belong to: an older program knows no other ones.
    op.execute(
        "UPDATE jobs SET state = 'cancelled' WHERE state IN ('ready', 'leased') "
        "AND id IN (SELECT job_id FROM rescored_entries)"
    )
    op.drop_table("rescored_entries")
    op.drop_index("uq_rescorings_open", table_name="rescorings")
    op.drop_index(op.f("ix_rescorings_competition"), table_name="rescorings")
    op.drop_table("rescorings")
    op.drop_column("jobs", "priority")
