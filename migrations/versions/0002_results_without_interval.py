"""Results without an interval: a metric need not have independent units to resample."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from competition.errors import ConflictError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = {
    "low": sa.Float(precision=53),
    "high": sa.Float(precision=53),
    "confidence": sa.Float(precision=53),
    "method": sa.String(length=32),
    "replicates": sa.LargeBinary(),
}


def upgrade() -> None:
    _change(nullable=True)


def downgrade() -> None:
    bare = op.get_bind().execute(sa.text("SELECT count(*) FROM task_results WHERE replicates IS NULL")).scalar_one()
    if bare:
        raise ConflictError(
            f"{bare} accepted results have no interval, and the older tables cannot hold them.",
            hint="Stay at this migration; an accepted result is never changed or deleted.",
        )
    _change(nullable=False)


def _change(*, nullable: bool) -> None:
    with op.batch_alter_table("task_results") as table:
        for name, kind in COLUMNS.items():
            table.alter_column(name, existing_type=kind, nullable=nullable)
