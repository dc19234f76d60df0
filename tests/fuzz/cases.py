"""One case by its number, and the tally of them all."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.support.polling import scaled

from .attacks import ATTACKS, Target

CASE_SECONDS: Final = 30.0
"""A case that is not over by then is a finding: somebody waits for ever."""
_MAX_FINDINGS: Final = 20
_MAX_TEXT: Final = 3000


@dataclass(slots=True)
class Findings:
    """What a run came to. `only` makes every case one of this kind."""

    seed: int
    only: str | None = None
    judged: int = 0
    """Cases that ran to their end and were looked at."""
    kinds: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def are_enough(self) -> bool:
        """Whether so much is wrong that more of it would tell nothing new."""
        return len(self.wrong) >= _MAX_FINDINGS

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        lines = [f"seed {self.seed}: {kinds}"]
        lines += [f"  {answer} x{count}" for answer, count in sorted(self.answers.items())]
        return "\n".join([*lines, *(f"WRONG {wrong}" for wrong in self.wrong)])


async def run_case(number: int, port: int, findings: Findings) -> None:
    """Send one case and note what is wrong with the answer. It is made of the seed and its number alone."""
    dice = random.Random(f"{findings.seed}:{number}")
    drawn = dice.choices(list(ATTACKS), [share for _, share in ATTACKS.values()])[0]
    kind = findings.only or drawn
    try:
        async with asyncio.timeout(scaled(CASE_SECONDS)):
            wrong = await ATTACKS[kind][0](dice, Target(port, findings.answers, findings.malformed))
    except Exception as error:  # noqa: BLE001 - an answer that the judges cannot read is a finding, not the end
        wrong = f"{type(error).__name__}: {error}"
    findings.judged += 1
    findings.kinds[kind] += 1
    if wrong is not None:
        findings.wrong.append(f"case {number} ({kind}): {wrong[:_MAX_TEXT]}")
