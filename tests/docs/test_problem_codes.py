"""The table of problem codes is whole and shows what the code says."""

from __future__ import annotations

from sharedjox_api.app import create_app
from sharedjox_api.http.openapi import status_of
from sharedjox_api.settings import ApiSettings

from tests.docs.problem_codes import OUTSIDE_OF_CALLS, PART, documented_calls, refusals


def test_the_page_is_up_to_date() -> None:
    assert PART.is_current(), f"run `{PART.command}`"


def test_a_code_means_one_thing() -> None:
    codes = [refusal.code for refusal in refusals()]
    assert sorted(codes) == sorted(set(codes))


def test_calls_document_the_codes_there_are() -> None:
    """No refusal that no call admits to, no documented code that does not exist."""
    documented = set(documented_calls(create_app(ApiSettings()).openapi()))
    ours = {(status_of(refusal), refusal.code) for refusal in refusals() if refusal.code not in OUTSIDE_OF_CALLS}
    assert documented == ours
