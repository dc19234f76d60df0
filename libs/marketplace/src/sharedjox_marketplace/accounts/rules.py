"""Who there is. Pure: no database, no framework."""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """What a user is here for. Operators are made on the command line only."""

    CLIENT = "client"
    FREELANCER = "freelancer"
    OPERATOR = "operator"


def normalize_email(email: str) -> str:
    """The form in which addresses are stored and compared."""
    return email.strip().lower()


def normalize_skills(skills: list[str]) -> list[str]:
    """Trimmed, lower case, without repeats or blanks, in the order given."""
    return list(dict.fromkeys(skill for raw in skills if (skill := raw.strip().lower())))
