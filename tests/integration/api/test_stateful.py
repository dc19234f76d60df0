"""The api walked along its own links (schemathesis, stateful): what an answer leads to works as the document says."""

from __future__ import annotations

import collections
import contextlib
import itertools
import re
from typing import Any, ClassVar

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import Flaky
from schemathesis import Case, Response
from schemathesis.specs.openapi.stateful import OpenAPIStateMachine
from sharedjox_api.app import create_app
from sharedjox_api.http.links import LINKS
from sharedjox_api.settings import ApiSettings

from .harness import JOB, Api, Person
from .served import ROLES, Served
from .test_openapi import CHECKED, ENDS_SESSIONS

CALLS = 200
FAR = {"POST /api/auth/refresh", "PATCH /api/auth/me", "GET /api/jobs/{id}", "POST /api/wallet/deposits"}
"""What has to have gone well before the walks are worth the name; a job's whole way is not left to chance."""
ROUND = settings(
    max_examples=10,
    stateful_step_count=15,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
WHO = {
    "POST /api/jobs": "client",
    "POST /api/jobs/{id}/claim": "freelancer",
    "POST /api/wallet/transactions/{id}/confirm": "operator",
    "POST /api/wallet/transactions/{id}/reject": "operator",
    "GET /api/analytics/realtime": "operator",
}
"""Who gets furthest with a call; a step of a job takes its parties in turn."""
STEPS_OF = {"completed": "client", "cancelled": "client", "claimed": "client"}
OTHERS_EVERY = 5
"""Each so many calls somebody else asks, or nobody: refusals are documented too."""
Machine: type[OpenAPIStateMachine] = schemathesis.openapi.from_dict(
    create_app(ApiSettings()).openapi()
).as_state_machine()  # type: ignore[assignment]


class Walk(Machine):  # type: ignore[valid-type, misc]  # a class made at run time
    """One walk after another through a running api, as the people of the demo."""

    served: ClassVar[Served]
    tokens: ClassVar[dict[str, str]]
    succeeded: ClassVar[collections.Counter[str]]
    wrong: ClassVar[list[str]]
    asked: ClassVar[int] = 0

    def before_call(self, case: Case[Any]) -> None:
        """Where chance would seldom get further: log-ins that exist, jobs that the client can pay."""
        if case.operation.label == "POST /api/auth/login" and self.asked % 2:
            case.body = self.served.log_in(ROLES[self.asked % 3])
        if case.operation.label == "POST /api/jobs" and isinstance(case.body, dict) and self.asked % 4:
            case.body |= {"budgetMin": 1, "budgetMax": 2}

    def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
        """Where to, and as whom."""
        role = self._role(case)
        type(self).asked += 1
        if role is None:
            return {"base_url": self.served.url, "headers": {}}
        token = self.served.token(role) if case.operation.path in ENDS_SESSIONS else self.tokens[role]
        return {"base_url": self.served.url, "headers": {"Authorization": f"Bearer {token}"}}

    def _role(self, case: Case[Any]) -> str | None:
        if self.asked % OTHERS_EVERY == 0:
            return (*ROLES, None)[self.asked // OTHERS_EVERY % 4]
        if case.operation.label == "POST /api/jobs/{id}/status" and isinstance(case.body, dict):
            return STEPS_OF.get(str(case.body.get("status")), "freelancer")
        return WHO.get(case.operation.label, ROLES[self.asked % 3])

    def after_call(self, response: Response, case: Case[Any]) -> None:
        """Count what went well; whoever's session a walk has ended logs in again."""
        super().after_call(response, case)
        if response.status_code < 400:
            self.succeeded[case.operation.label] += 1
        if case.operation.path in ENDS_SESSIONS:
            self.log_in_again()

    @classmethod
    def missing(cls) -> set[str]:
        """How far no walk has come yet."""
        return FAR - set(cls.succeeded)

    @classmethod
    def log_in_again(cls) -> None:
        """New sessions for everybody."""
        cls.tokens.update({role: cls.served.token(role) for role in ROLES})

    def validate_response(self, response: Response, case: Case[Any], *_args: Any, **_kwargs: Any) -> None:
        """No 5xx, no status, type or body that the document does not have."""
        try:
            case.validate_response(response, checks=CHECKED)
        except Exception as failure:
            self.wrong.append(str(failure))
            raise


def test_walks_along_the_links_do_what_the_document_says(served: Served) -> None:
    class Walks(Walk):
        """The walks of this test."""

    Walks.served, Walks.tokens, Walks.succeeded, Walks.wrong = served, {}, collections.Counter(), []
    Walks.log_in_again()
    rounds = itertools.count(1)
    while not Walks.wrong and (Walks.asked < CALLS or (Walks.missing() and Walks.asked < 10 * CALLS)):
        # The api remembers the walks before, so that a step may have another end when it is taken again. Hypothesis
        # takes that for a flaky generator and gives up on the round; what went wrong in it is kept all the same.
        with contextlib.suppress(Flaky):
            seed(next(rounds))(Walks).run(settings=ROUND)
    assert Walks.wrong == []
    assert Walks.missing() == set()


async def test_links_lead_a_job_from_its_post_to_its_payment(api: Api) -> None:
    client, freelancer = await api.parties()
    answer = await api.post(client, "/api/jobs", JOB)
    for who, link in (
        (freelancer, "claim"),
        (freelancer, "start"),
        (freelancer, "submit"),
        (client, "complete"),
        (client, "transactions"),
        (client, "confirmFirst"),
    ):
        answer = await _follow(api, who, answer, link)
        assert answer.is_success, (link, answer.text)
    assert (answer.json()["type"], answer.json()["status"]) == ("job_payment", "confirmed")
    assert (await api.wallet(freelancer))["balance"] == 45


async def _follow(api: Api, who: Person, answer: httpx.Response, name: str) -> httpx.Response:
    """Ask for what the document says that an answer leads to by the link `name`."""
    paths = api.app.openapi()["paths"]
    method, asked = answer.request.method.lower(), answer.request.url.path
    template = next(path for path in paths if re.fullmatch(path.replace("{id}", "[0-9]+"), asked))
    link = paths[template][method]["responses"][str(answer.status_code)]["links"][name]
    target, verb = next(
        (path, verb)
        for path, operations in paths.items()
        for verb, operation in operations.items()
        if operation.get("operationId") == link["operationId"]
    )
    values = {parameter: _value(expression, answer) for parameter, expression in link["parameters"].items()}
    query = {parameter: value for parameter, value in values.items() if f"{{{parameter}}}" not in target}
    return await api.http.request(
        verb, target.format_map(values), params=query, json=link.get("requestBody"), headers=who.headers
    )


def _value(expression: str, answer: httpx.Response) -> str:
    """A runtime expression of OpenAPI, as far as our links use them."""
    if expression == "$request.path.id":
        return next(part for part in answer.request.url.path.split("/") if part.isdigit())
    value: Any = answer.json()
    for part in expression.removeprefix("$response.body#/").split("/"):
        value = value[int(part)] if part.isdigit() else value[part]
    return str(value)


def test_links_are_followed_to_calls_that_take_what_they_give() -> None:
    """The document has every link, each target has the parameters that it names, each pointer is in the answer."""
    document = create_app(ApiSettings()).openapi()
    operations = {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for operation in methods.values()
        if "operationId" in operation
    }
    written = 0
    for operation in operations.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                written += 1
                target = operations[link["operationId"]]
                names = {parameter["name"] for parameter in target.get("parameters", [])}
                assert set(link.get("parameters", {})) <= names
                assert "requestBody" not in link or "requestBody" in target
                for expression in [*link.get("parameters", {}).values(), *link.get("requestBody", {}).values()]:
                    if isinstance(expression, str) and expression.startswith("$response.body#/"):
                        schema = response["content"]["application/json"]["schema"]
                        _resolve(document["components"]["schemas"], schema, expression.split("/")[1:])
    assert written == len(LINKS)


def _resolve(schemas: dict[str, Any], schema: dict[str, Any], pointer: list[str]) -> None:
    """Raises: KeyError when an answer of this schema has nothing at the pointer."""
    for part in pointer:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        schema = schema["items"] if part.isdigit() else schema["properties"][part]
