"""Registering, logging in, refreshing, logging out."""

from __future__ import annotations

import time

import httpx
import pytest
from jose import jwt

from .harness import Api, make_settings, open_api

ADA = {
    "name": "Ada",
    "email": "Ada@Example.test",
    "password": "correct horse",
    "role": "freelancer",
    "skills": ["React"],
}


async def _register(api: Api, **fields: object) -> dict[str, object]:
    answer = await api.http.post("/api/auth/register", json=ADA | fields)
    assert answer.status_code == 201, answer.text
    login: dict[str, object] = answer.json()
    return login


def _bearer(login: dict[str, object]) -> dict[str, str]:
    return {"Authorization": f"Bearer {login['accessToken']}"}


async def _refresh(api: Api, token: object) -> httpx.Response:
    return await api.http.post("/api/auth/refresh", json={"refreshToken": token})


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer not.a.token", "Bearer " + "x" * 5000, "Bearer \x7f"],
)
async def test_bad_authorization_is_refused_with_a_challenge(api: Api, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    refused = await api.http.get("/api/auth/me", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid-token")
    assert refused.headers["www-authenticate"].startswith("Bearer")


async def test_forged_and_expired_tokens_are_refused(api: Api) -> None:
    person = await api.person("client")
    good = {
        "iss": "sharedjox",
        "sub": str(person.id),
        "sid": person.actor.session_id,
        "iat": 1,
        "exp": time.time() + 60,
    }
    secret = api.runtime.settings.jwt_secret.get_secret_value()
    forged = {
        "another secret": jwt.encode(good, "wrong", algorithm="HS256"),
        "another algorithm": jwt.encode(good, secret, algorithm="HS512"),
        "expired": jwt.encode(good | {"exp": int(time.time()) - 1}, secret, algorithm="HS256"),
        "without end": jwt.encode({k: v for k, v in good.items() if k != "exp"}, secret, algorithm="HS256"),
        "another issuer": jwt.encode(good | {"iss": "x"}, secret, algorithm="HS256"),
        "another user": jwt.encode(good | {"sub": str(person.id + 1)}, secret, algorithm="HS256"),
        "unsigned": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    }
    for why, token in forged.items():
        refused = await api.http.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 401, why
    assert (await api.http.get("/api/auth/me", headers=person.headers)).status_code == 200


async def test_tokens_expire(postgres_url: str, redis_url: str) -> None:
    async with open_api(make_settings(postgres_url, redis_url, access_token_seconds=900)) as api:
        person = await api.person("client")
        assert (await api.http.get("/api/auth/me", headers=person.headers)).status_code == 200
        # A token that was verified before is remembered, but not beyond its end.
        for token, claims in list(api.runtime.tokens._verified.items()):
            api.runtime.tokens._verified[token] = type(claims)(claims.user_id, claims.session_id, int(time.time()) - 1)
        assert (await api.http.get("/api/auth/me", headers=person.headers)).status_code == 401


async def test_operators_cannot_register(api: Api) -> None:
    refused = await api.http.post("/api/auth/register", json=ADA | {"role": "operator"})
    assert refused.status_code == 422


async def test_register_ignores_what_is_not_the_callers_to_say(api: Api) -> None:
    login = await _register(api, id=1, isAdmin=True, balance=1000)
    me = (await api.http.get("/api/auth/me", headers=_bearer(login))).json()
    assert (me["email"], me["role"], me["skills"]) == ("ada@example.test", "freelancer", ["react"])
    assert (await api.http.get("/api/wallet", headers=_bearer(login))).json()["balance"] == 0


async def test_an_address_registers_once(api: Api) -> None:
    await _register(api)
    refused = await api.http.post("/api/auth/register", json=ADA | {"email": "ADA@example.test "})
    assert (refused.status_code, refused.json()["code"]) == (409, "email-taken")


async def test_login_answers_alike_for_unknown_addresses_and_wrong_passwords(api: Api) -> None:
    await _register(api)
    answers = [
        await api.http.post("/api/auth/login", json={"email": email, "password": "wrong password"})
        for email in ("ada@example.test", "nobody@example.test", "no address \u2603")
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    details = {answer.json()["detail"] for answer in answers}
    assert details == {"the address or the password is wrong"}


async def test_login_has_the_promised_form(api: Api) -> None:
    await _register(api)
    login = await api.http.post("/api/auth/login", json={"email": "ADA@example.test", "password": "correct horse"})
    assert login.status_code == 200
    assert set(login.json()) == {"user", "accessToken", "refreshToken", "tokenType", "expiresIn"}
    assert (login.json()["tokenType"], login.json()["expiresIn"]) == ("Bearer", 900)
    assert "password" not in login.text.replace("correct horse", "")


async def test_passwords_are_stored_as_argon2id(api: Api) -> None:
    await _register(api)
    ((stored,),) = await api.sql("SELECT password_hash FROM users")
    assert stored.startswith("$argon2id$")


async def test_refresh_rotates(api: Api) -> None:
    login = await _register(api)
    second = await _refresh(api, login["refreshToken"])
    assert second.status_code == 200
    assert second.json()["refreshToken"] != login["refreshToken"]
    assert (await _refresh(api, second.json()["refreshToken"])).status_code == 200


async def test_a_refresh_token_used_twice_ends_the_session(api: Api) -> None:
    login = await _register(api)
    second = (await _refresh(api, login["refreshToken"])).json()
    reused = await _refresh(api, login["refreshToken"])
    assert (reused.status_code, reused.json()["code"]) == (401, "refresh-token-reused")
    assert (await _refresh(api, second["refreshToken"])).json()["code"] == "invalid-token"
    for token in (login, second):
        assert (await api.http.get("/api/auth/me", headers=_bearer(token))).status_code == 401
    ((session_id,),) = await api.sql("SELECT id FROM sessions")
    assert (await api.events("session.revoked"))[0][2] == {"sessionId": str(session_id)}


@pytest.mark.parametrize("token", ["nonsense", "\u2603", "a" * 512])
async def test_unknown_refresh_tokens_are_refused(api: Api, token: str) -> None:
    refused = await _refresh(api, token)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid-token")


async def test_refresh_with_a_key_can_be_repeated(api: Api) -> None:
    """The answer got lost on the way: the same request again must not look like theft."""
    login = await _register(api)
    body, headers = {"refreshToken": login["refreshToken"]}, {"Idempotency-Key": "one"}
    first = await api.http.post("/api/auth/refresh", json=body, headers=headers)
    again = await api.http.post("/api/auth/refresh", json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    ((stored,),) = await api.sql("SELECT body FROM idempotency_keys")
    assert first.json()["refreshToken"].encode() not in bytes(stored)


async def test_logout_counts_at_once(api: Api) -> None:
    login = await _register(api)
    other = (await api.http.post("/api/auth/login", json={"email": ADA["email"], "password": ADA["password"]})).json()
    assert (await api.http.post("/api/auth/logout", headers=_bearer(login))).status_code == 204
    assert (await api.http.get("/api/auth/me", headers=_bearer(login))).status_code == 401
    assert (await api.http.post("/api/auth/logout", headers=_bearer(login))).status_code == 401
    assert (await _refresh(api, login["refreshToken"])).status_code == 401
    assert (await api.http.get("/api/auth/me", headers=_bearer(other))).status_code == 200
    assert len(await api.events("session.revoked")) == 1


async def test_sessions_are_listed_and_revoked(api: Api) -> None:
    login = await _register(api)
    other = (await api.http.post("/api/auth/login", json={"email": ADA["email"], "password": ADA["password"]})).json()
    listed = (await api.http.get("/api/auth/sessions", headers=_bearer(other))).json()["items"]
    assert sorted(session["current"] for session in listed) == [False, True]
    first = next(session["id"] for session in listed if not session["current"])
    stranger = await api.person("client")
    foreign = await api.http.delete(f"/api/auth/sessions/{first}", headers=stranger.headers)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "session-not-found")
    assert (await api.http.delete(f"/api/auth/sessions/{first}", headers=_bearer(other))).status_code == 204
    assert (await api.http.get("/api/auth/me", headers=_bearer(login))).status_code == 401


async def test_login_is_throttled_per_account_and_address(postgres_url: str, redis_url: str) -> None:
    async with open_api(make_settings(postgres_url, redis_url, login_attempts_per_minute=3)) as api:
        body = {"email": "ada@example.test", "password": "wrong"}
        answers = [await api.http.post("/api/auth/login", json=body) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert (answers[-1].json()["code"], int(answers[-1].headers["retry-after"]) > 0) == ("rate-limited", True)
        other = await api.http.post("/api/auth/login", json=body | {"email": "bob@example.test"})
        assert other.status_code == 401


async def test_requests_are_limited_per_user(postgres_url: str, redis_url: str) -> None:
    async with open_api(make_settings(postgres_url, redis_url, rate_limit_user_per_minute=2)) as api:
        one, other = await api.person("client"), await api.person("client")
        assert [(await api.get(one, "/api/wallet")).status_code for _ in range(3)] == [200, 200, 429]
        assert (await api.get(other, "/api/wallet")).status_code == 200
