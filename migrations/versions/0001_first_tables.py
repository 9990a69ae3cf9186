"""First tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def words(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=64)


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", Number, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "competitions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", Number, autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("published_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("pk_competitions")),
    )
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", Number, nullable=False),
        sa.Column("idempotency_key", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("competition", sa.String(length=64), nullable=False),
        sa.Column("competition_version", Number, nullable=False),
        sa.Column("competition_digest", sa.String(length=64), nullable=False),
        sa.Column("track", sa.String(length=64), nullable=False),
        sa.Column("scale", sa.String(length=64), nullable=False),
        sa.Column("recipe_digest", sa.String(length=64), nullable=False),
        sa.Column("suite", sa.String(length=128), nullable=False),
        sa.Column("suite_digest", sa.String(length=64), nullable=False),
        sa.Column("method_name", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("hub_endpoint", sa.Text(), nullable=False),
        sa.Column("repo", sa.Text(), nullable=False),
        sa.Column("revision", sa.String(length=40), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column(
            "processing",
            words(
                "processing",
                "draft",
                "received",
                "mirrored",
                "validating",
                "queued",
                "leased",
                "running",
                "scored",
                "invalid",
                "failed",
                "cancelled",
            ),
            nullable=False,
        ),
        sa.Column("stage", sa.String(length=64), nullable=True),
        sa.Column("visibility", words("visibility", "private", "embargoed", "public", "withdrawn"), nullable=False),
        sa.Column(
            "eligibility",
            words("eligibility", "eligible", "baseline", "late", "flagged", "disqualified", "superseded"),
            nullable=False,
        ),
        sa.Column("trust", words("trust", "self_reported", "re_evaluated", "re_trained"), nullable=False),
        sa.Column("rejection_reason", sa.String(length=64), nullable=True),
        sa.Column("rejection_message", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("manifest", sa.Text(), nullable=True),
        sa.Column("subset_samples", Number, nullable=True),
        sa.Column("subset_unique", Number, nullable=True),
        sa.Column("version", Number, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("received_at", Time, nullable=True),
        sa.Column("updated_at", Time, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_submissions_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["competition", "competition_version"],
            ["competitions.id", "competitions.version"],
            name=op.f("fk_submissions_competition_competition_version_competitions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("account_id", "idempotency_key", name=op.f("uq_submissions_account_id_idempotency_key")),
    )
    op.create_index(
        "ix_submissions_board", "submissions", ["competition", "track", "scale", "processing"], unique=False
    )
    op.create_index("ix_submissions_newest", "submissions", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_submissions_processing"), "submissions", ["processing"], unique=False)

    op.create_table(
        "tokens",
        sa.Column("id", Number, nullable=False),
        sa.Column("account_id", Number, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sa.Column("revoked_at", Time, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_tokens_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    op.create_index(op.f("ix_tokens_account_id"), "tokens", ["account_id"], unique=False)

    op.create_table(
        "evaluations",
        sa.Column("id", Number, nullable=False),
        sa.Column("submission_id", sa.String(length=64), nullable=False),
        sa.Column("suite", sa.String(length=128), nullable=False),
        sa.Column("suite_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("published_at", Time, nullable=True),
        sa.Column("score", sa.Float(precision=53), nullable=True),
        sa.Column("score_low", sa.Float(precision=53), nullable=True),
        sa.Column("score_high", sa.Float(precision=53), nullable=True),
        sa.Column("replicates", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_evaluations_submission_id_submissions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint("submission_id", "suite_digest", name=op.f("uq_evaluations_submission_id_suite_digest")),
    )
    op.create_index(op.f("ix_evaluations_suite_digest"), "evaluations", ["suite_digest"], unique=False)

    op.create_table(
        "events",
        sa.Column("submission_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", Number, autoincrement=False, nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_events_submission_id_submissions")
        ),
        sa.PrimaryKeyConstraint("submission_id", "sequence", name=op.f("pk_events")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", Number, nullable=False),
        sa.Column("submission_id", sa.String(length=64), nullable=False),
        sa.Column("evaluation_id", Number, nullable=True),
        sa.Column("kind", words("kind", "intake", "scoring"), nullable=False),
        sa.Column("state", words("state", "ready", "leased", "done", "dead", "cancelled"), nullable=False),
        sa.Column("attempt", Number, nullable=False),
        sa.Column("failures", Number, nullable=False),
        sa.Column("available_at", Time, nullable=False),
        sa.Column("holder_id", Number, nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", Time, nullable=True),
        sa.Column("finish_attempt", Number, nullable=True),
        sa.Column("finish_digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], name=op.f("fk_jobs_evaluation_id_evaluations")),
        sa.ForeignKeyConstraint(["holder_id"], ["accounts.id"], name=op.f("fk_jobs_holder_id_accounts")),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name=op.f("fk_jobs_submission_id_submissions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_lease_expires_at"), "jobs", ["lease_expires_at"], unique=False)
    op.create_index(op.f("ix_jobs_submission_id"), "jobs", ["submission_id"], unique=False)
    op.create_index("ix_jobs_waiting", "jobs", ["state", "available_at", "id"], unique=False)
    op.create_index(
        "uq_jobs_live",
        "jobs",
        ["submission_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('ready', 'leased')"),
        postgresql_where=sa.text("state IN ('ready', 'leased')"),
    )

    op.create_table(
        "task_results",
        sa.Column("id", Number, nullable=False),
        sa.Column("evaluation_id", Number, nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("job_id", Number, nullable=False),
        sa.Column("attempt", Number, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.Column("low", sa.Float(precision=53), nullable=False),
        sa.Column("high", sa.Float(precision=53), nullable=False),
        sa.Column("confidence", sa.Float(precision=53), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("samples", Number, nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("outcomes", sa.JSON(), nullable=False),
        sa.Column("replicates", sa.LargeBinary(), nullable=False),
        sa.Column("accepted_at", Time, nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_task_results_evaluation_id_evaluations")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_task_results_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_results")),
        sa.UniqueConstraint("evaluation_id", "task", name=op.f("uq_task_results_evaluation_id_task")),
    )


def downgrade() -> None:
    op.drop_table("task_results")
    op.drop_index(
        "uq_jobs_live",
        table_name="jobs",
        sqlite_where=sa.text("state IN ('ready', 'leased')"),
        postgresql_where=sa.text("state IN ('ready', 'leased')"),
    )
    op.drop_index("ix_jobs_waiting", table_name="jobs")
    op.drop_index(op.f("ix_jobs_submission_id"), table_name="jobs")
    op.drop_index(op.f("ix_jobs_lease_expires_at"), table_name="jobs")

    op.drop_table("jobs")
    op.drop_table("events")
    op.drop_index(op.f("ix_evaluations_suite_digest"), table_name="evaluations")

    op.drop_table("evaluations")
    op.drop_index(op.f("ix_tokens_account_id"), table_name="tokens")

    op.drop_table("tokens")
    op.drop_index(op.f("ix_submissions_processing"), table_name="submissions")
    op.drop_index("ix_submissions_newest", table_name="submissions")
    op.drop_index("ix_submissions_board", table_name="submissions")

    op.drop_table("submissions")
    op.drop_table("competitions")
    op.drop_table("accounts")
