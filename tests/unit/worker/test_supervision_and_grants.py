import asyncio

import pytest
from sharedjox_worker.access import Grant
from sharedjox_worker.supervision import keep_running

from tests.support.polling import scaled


async def test_an_activity_is_run_again_until_it_returns() -> None:
    outcomes = iter([OSError("refused"), RuntimeError("mistake"), None])
    runs = 0

    async def activity() -> None:
        nonlocal runs
        runs += 1
        if (outcome := next(outcomes)) is not None:
            raise outcome

    await asyncio.wait_for(keep_running("test", activity), scaled(5))
    assert runs == 3


async def test_cancellation_ends_it() -> None:
    task = asyncio.create_task(keep_running("test", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "member", [b"", b"1.2", b"1.2|", b"1.2|x|s", b"1.2|-1|s", b"\xff|\xff|", "1.2|\u0663|s".encode()]
)
def test_members_that_are_no_grants(member: bytes) -> None:
    assert Grant.parse(member, 1.0) is None


def test_a_grant_comes_apart() -> None:
    assert Grant.parse(b"12.34|7|session", 5.0) == Grant(b"12.34|7|session", 5.0, "12.34", 7)
