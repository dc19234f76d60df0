"""Indexes for discovery by budget.

Revision: 0002, after 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = ("budget_max_cents", "budget_min_cents")


def upgrade() -> None:
    # Concurrently: the table is written to meanwhile. That takes no transaction around it.
    with op.get_context().autocommit_block():
        for column in _COLUMNS:
            op.create_index(
                f"ix_jobs_status_{column}", "jobs", ["status", column], postgresql_concurrently=True, if_not_exists=True
            )


def downgrade() -> None:
    for column in _COLUMNS:
        op.drop_index(f"ix_jobs_status_{column}", table_name="jobs")
