import orjson
import pytest
from pydantic import SecretStr
from sharedjox_kit.environment import AppEnvironment, ServiceSettings, load_settings, reject_sample_secret
from sharedjox_kit.tasks import deserialize_task, serialize_task

SAMPLES = frozenset({"sharedjox-secret"})


@pytest.mark.parametrize("environment", [AppEnvironment.STAGING, AppEnvironment.PRODUCTION])
def test_sample_secrets_do_not_boot_outside_development(environment: AppEnvironment) -> None:
    with pytest.raises(ValueError, match=r"REVERB_APP_SECRET is a sample secret.*openssl rand"):
        reject_sample_secret("REVERB_APP_SECRET", SecretStr("sharedjox-secret"), SAMPLES, environment)
    reject_sample_secret("REVERB_APP_SECRET", SecretStr("a random one"), SAMPLES, environment)


@pytest.mark.parametrize("environment", [AppEnvironment.DEVELOPMENT, AppEnvironment.TEST])
def test_sample_secrets_boot_in_development(environment: AppEnvironment) -> None:
    reject_sample_secret("REVERB_APP_SECRET", SecretStr("sharedjox-secret"), SAMPLES, environment)


def test_a_wrong_setting_ends_the_process_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APP_ENV", "moon")
    with pytest.raises(SystemExit) as end:
        load_settings(ServiceSettings)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: APP_ENV: Input should be 'development'")


def test_empty_settings_count_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    assert load_settings(ServiceSettings).redis_url == "redis://127.0.0.1:6379/0"


def test_tasks_are_json() -> None:
    task = {"t": 1, "f": "relay_outbox", "a": [], "k": {}, "et": 5}
    assert deserialize_task(serialize_task(task)) == task
    with pytest.raises(orjson.JSONDecodeError):
        deserialize_task(b"\x80\x04cposix\nsystem\n.")
