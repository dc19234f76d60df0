"""Pages link to files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY

LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<target>[^)\s#]+)")
PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "web/packages/*/*.md", "web/*.md")
    for page in sorted(REPOSITORY.glob(pattern))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files(page: Path) -> None:
    targets = [found["target"] for found in LINK.finditer(page.read_text(encoding="utf-8"))]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []
