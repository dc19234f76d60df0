"""Notifications and Web Push subscriptions over REST."""

from __future__ import annotations

from sharedjox_marketplace.notifications.push_rules import SAMPLE_VAPID_PRIVATE_KEY, public_vapid_key

from .harness import Api

KEYS = {"p256dh": public_vapid_key(SAMPLE_VAPID_PRIVATE_KEY), "auth": "a" * 22}
ENDPOINT = "https://push.example.net/send/abc?x=1"


async def test_a_notification_is_stored_and_sent(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.claimed_job(client, freelancer)
    (stored, deposit) = (await api.get(client, "/api/notifications")).json()["items"]
    assert (stored["type"], stored["jobId"], stored["userId"], stored["readAt"]) == (
        "job.claimed",
        job_id,
        client.id,
        None,
    )
    assert deposit["type"] == "wallet.deposit_confirmed"
    sent = (await api.events("notification.created"))[-1]
    assert sent[1] == f"private-user.{client.id}"
    assert sent[2] == {key: stored[key] for key in ("id", "userId", "type", "title", "body", "jobId", "createdAt")} | {
        "timestamp": stored["createdAt"]
    }


async def test_reading_is_remembered(api: Api) -> None:
    client, freelancer = await api.parties()
    await api.claimed_job(client, freelancer)
    newest = (await api.get(client, "/api/notifications")).json()["items"][0]["id"]
    foreign = await api.post(freelancer, f"/api/notifications/{newest}/read")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "notification-not-found")
    read = await api.ok(client, f"/api/notifications/{newest}/read")
    assert read["readAt"] is not None
    assert (await api.ok(client, f"/api/notifications/{newest}/read"))["readAt"] == read["readAt"]
    unread = (await api.get(client, "/api/notifications", unread="true")).json()["items"]
    assert newest not in [notification["id"] for notification in unread]


async def test_a_browser_subscribes_and_unsubscribes(api: Api) -> None:
    client, freelancer = await api.parties()
    body = {"endpoint": ENDPOINT, "expirationTime": None, "keys": KEYS}
    first = await api.ok(client, "/api/push/subscriptions", body)
    assert first["endpoint"] == ENDPOINT
    assert (await api.ok(client, "/api/push/subscriptions", body))["id"] == first["id"]
    # The same browser with another user logged in: it is theirs now.
    assert (await api.ok(freelancer, "/api/push/subscriptions", body))["id"] == first["id"]
    gone = await api.http.delete(f"/api/push/subscriptions/{first['id']}", headers=client.headers)
    assert (gone.status_code, gone.json()["code"]) == (404, "push-subscription-not-found")
    done = await api.http.delete("/api/push/subscriptions", params={"endpoint": ENDPOINT}, headers=freelancer.headers)
    assert done.status_code == 204
    assert await api.sql("SELECT 1 FROM push_subscriptions") == []


async def test_the_public_key_is_the_settings(api: Api) -> None:
    client = await api.person("client")
    shown = (await api.get(client, "/api/push/public-key")).json()
    assert shown == {"publicKey": public_vapid_key(SAMPLE_VAPID_PRIVATE_KEY)}
