"""What the api refuses to start with, and how it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sharedjox_api.settings import ApiSettings

GOOD = {
    "APP_ENV": "production",
    "REVERB_APP_SECRET": "a-real-secret",
    "JWT_SECRET": "x" * 32,
    "VAPID_PRIVATE_KEY": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ApiSettings.model_fields, *(field.upper() for field in ApiSettings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def _with(monkeypatch: pytest.MonkeyPatch, **environment: Any) -> ApiSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    return ApiSettings()


@pytest.mark.parametrize("missing", ["REVERB_APP_SECRET", "JWT_SECRET", "VAPID_PRIVATE_KEY"])
@pytest.mark.parametrize("environment", ["production", "staging"])
def test_sample_secrets_boot_in_development_only(
    monkeypatch: pytest.MonkeyPatch, missing: str, environment: str
) -> None:
    variables = {name: value for name, value in GOOD.items() if name != missing} | {"APP_ENV": environment}
    with pytest.raises(ValidationError, match=f"{missing} is a sample secret"):
        _with(monkeypatch, **variables)


def test_short_jwt_secrets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="openssl rand"):
        _with(monkeypatch, **(GOOD | {"JWT_SECRET": "short"}))


@pytest.mark.parametrize("accepted", ["short", "x" * 32 + ",short", "development-only-jwt-secret"])
def test_accepted_jwt_secrets_are_as_good_as_the_one_that_signs(monkeypatch: pytest.MonkeyPatch, accepted: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand"):
        _with(monkeypatch, **(GOOD | {"JWT_ACCEPTED_SECRETS": accepted}))


def test_the_secret_that_signs_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = f" {'y' * 32}, {'z' * 32},"
    settings = _with(monkeypatch, **(GOOD | {"JWT_ACCEPTED_SECRETS": accepted}))
    assert settings.jwt_secrets == ("x" * 32, "y" * 32, "z" * 32)
    assert "yyy" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://x"),
        ("API_PORT", "0"),
        ("API_PORT", "http"),
        ("REVERB_APP_ID", "app"),
        ("REVERB_APP_KEY", "with:colon"),
        ("PLATFORM_FEE_PERCENT", "51"),
        ("PLATFORM_FEE_PERCENT", "-1"),
        ("EARNING_RELEASE_HOURS", "0"),
        ("VAPID_PRIVATE_KEY", "short"),
        ("WEB_DIST_DIR", "/nowhere"),
        ("APP_ENV", "prod"),
    ],
)
def test_odd_settings_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name.lower()):
        _with(monkeypatch, **{name: value})


def test_development_needs_no_settings_and_limits_nobody() -> None:
    settings = ApiSettings()
    assert settings.rate_limit_user_per_minute == 0
    assert settings.login_attempts_per_minute == 0
    assert settings.terms.fee_percent == 10
    assert settings.terms.release_after.total_seconds() == 72 * 3600


def test_production_limits_everybody_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _with(monkeypatch, **GOOD, LOGIN_ATTEMPTS_PER_MINUTE=3)
    assert settings.rate_limit_user_per_minute > 0
    assert settings.login_attempts_per_minute == 3


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    settings = _with(monkeypatch, ALLOWED_ORIGINS="https://a.example, https://b.example", WEB_DIST_DIR=tmp_path)
    assert settings.allowed_origins == ["https://a.example", "https://b.example"]
    assert settings.web_dist_dir == tmp_path


def test_secrets_do_not_show() -> None:
    assert "sharedjox-secret" not in repr(ApiSettings())
