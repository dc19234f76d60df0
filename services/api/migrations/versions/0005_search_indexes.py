"""One inverted index for skills and words together, and a second one of active jobs only.

Both conditions in one index: what passes the two is found in it, instead of marking all that pass either. Of active
jobs only: nearly every search asks for those, and a job that is claimed costs no entry there. A search reads the list
of what was written lately from end to end, so that is kept short.

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = ["required_skills", "search"]
_PENDING = {"gin_pending_list_limit": 256}  # kB


def upgrade() -> None:
    # Concurrently: the table is written to meanwhile. That takes no transaction around it.
    with op.get_context().autocommit_block():
        for name, where in (
            ("ix_jobs_skills_search", None),
            ("ix_jobs_active_skills_search", sa.text("status = 'active'")),
        ):
            op.create_index(
                name,
                "jobs",
                _COLUMNS,
                postgresql_using="gin",
                postgresql_where=where,
                postgresql_with=_PENDING,
                postgresql_concurrently=True,
                if_not_exists=True,
            )
        for column in _COLUMNS:
            op.drop_index(f"ix_jobs_{column}", table_name="jobs", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    for column in _COLUMNS:
        op.create_index(f"ix_jobs_{column}", "jobs", [column], postgresql_using="gin")
    op.drop_index("ix_jobs_active_skills_search", table_name="jobs")
    op.drop_index("ix_jobs_skills_search", table_name="jobs")
