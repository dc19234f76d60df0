import datetime as dt

import pytest
from pydantic import ValidationError
from sharedjox_worker.settings import WorkerSettings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WorkerSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://x"),
        ("REVERB_APP_ID", "a:b"),
        ("WORKER_METRICS_PORT", "70000"),
        ("WORKER_METRICS_PORT", "x"),
        ("RELAY_BATCH_ROWS", "0"),
        ("RELAY_SWEEP_SECONDS", "0"),
        ("HISTORY_LENGTH", "100"),
        ("OUTBOX_KEEP_HOURS", "0"),
        ("IDEMPOTENCY_KEEP_HOURS", "1"),
        ("HISTORY_KINDS", "presence=100/600"),
        ("HISTORY_KINDS", "secret=1000/600"),
        ("HISTORY_KINDS", "presence=1000"),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        WorkerSettings()


def test_defaults_and_what_they_become() -> None:
    settings = WorkerSettings()
    assert settings.worker_metrics_port == 9100
    assert settings.relay().batch_rows <= settings.history().shortest
    assert settings.relay().replay_window == dt.timedelta(seconds=10)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_postgres_address_is_taken(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://u@h/d")
    assert WorkerSettings().database_url == "postgresql+asyncpg://u@h/d"


def test_production_does_not_sign_pushes_with_the_sample_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(ValidationError, match="VAPID_PRIVATE_KEY is a sample"):
        WorkerSettings()


@pytest.mark.parametrize(
    ("name", "value"), [("VAPID_PRIVATE_KEY", "short"), ("VAPID_SUBJECT", "somebody"), ("VAPID_SUBJECT", "http://x")]
)
def test_keys_that_no_push_service_takes_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        WorkerSettings()
