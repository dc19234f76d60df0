"""Indexes for job alerts; the one of notifications that nobody had pushed goes.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NEW_RULES = {"uq_notifications_job_alert": "no release before this one writes notifications of the type job.alert"}


def upgrade() -> None:
    # Concurrently: the tables are written to meanwhile. That takes no transaction around it.
    with op.get_context().autocommit_block():
        wants = sa.text("wants_job_alerts")
        op.create_index(
            "ix_users_job_alerts",
            "users",
            ["id"],
            postgresql_where=wants,
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.create_index(
            "ix_users_alert_skills",
            "users",
            ["skills"],
            postgresql_using="gin",
            postgresql_where=wants,
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.create_index(
            "uq_notifications_job_alert",
            "notifications",
            ["user_id", "job_id"],
            unique=True,
            postgresql_where=sa.text("type = 'job.alert'"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.drop_index(
            "ix_notifications_unpushed", table_name="notifications", postgresql_concurrently=True, if_exists=True
        )


def downgrade() -> None:
    op.create_index("ix_notifications_unpushed", "notifications", ["id"], postgresql_where=sa.text("pushed_at IS NULL"))
    op.drop_index("uq_notifications_job_alert", table_name="notifications")
    op.drop_index("ix_users_alert_skills", table_name="users")
    op.drop_index("ix_users_job_alerts", table_name="users")
