"""The state machine assemble_results, by invocations of its handlers."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.explorer.account import ASSEMBLY, OUTPUT, Account

Call = tuple[str, dict[str, Any]]


@dataclass
class Assembly:
    """One execution. `calls` are the invocations that are due next, one after the other."""

    account: Account
    run: str
    tenant: str
    execution: str
    plan: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    done: bool = False

    def copy(self, account: Account) -> "Assembly":
        return Assembly(account, self.run, self.tenant, self.execution, self.plan, list(self.calls), self.done)

    @classmethod
    def begin(cls, account: Account, run: str, tenant: str, execution: str) -> "Assembly":
        made = cls(account, run, tenant, execution)
        made.calls = [made.planning(0)]
        return made

    @property
    def where(self) -> dict[str, Any]:
        return {"run": self.run, "tenant": self.tenant}

    def planning(self, previous: int) -> Call:
        return "plan_assembly", {**self.where, "execution": self.execution, "previous": previous}

    def answered(self, answer: dict[str, Any], reduce: Callable[[str, dict[str, Any]], None]) -> None:
        """The next call's answer has come."""
        function, _ = self.calls.pop(0)
        if function == "plan_assembly":
            self.plan = answer
            self.calls = self._of_plan()
        elif function == "close_assembly":
            if answer["next"] != "reduce":
                self.done = True
                self.account.states.end(self.execution, "SUCCEEDED")
                return
            reduce(answer["reduction"]["run"], answer["reduction"]["request"])
            self.calls = [self.planning(self.plan["revision"])]

    def _of_plan(self) -> list[Call]:
        plan, calls = self.plan, list[Call]()
        if plan["sort"]["count"]:
            common = {**self.where, "partitions": plan["partitions"]}
            calls += [("sort_chunks", {**common, "group": one}) for one in self._lines("sort")]
        if plan["join"]["count"]:
            common = {**self.where, "revision": plan["revision"]}
            calls += [("join_documents", {**common, "partition": one["partition"]}) for one in self._lines("join")]
        if plan["ordered"]:
            calls.append(("order_results", self.where))
        return [*calls, ("close_assembly", {**self.where, "revision": plan["revision"]})]

    def _lines(self, what: str) -> list[dict[str, Any]]:
        return self.account.lines(OUTPUT, self.plan[what]["key"])


def begin_late(account: Account, known: set[str]) -> list[Assembly]:
    """Executions that somebody else has started."""
    found = []
    for arn, one in list(account.states.executions.items()):
        if one.machine == ASSEMBLY and one.status == "RUNNING" and arn not in known:
            given = json.loads(one.input)
            found.append(Assembly.begin(account, given["run"], given["tenant"], arn))
    return found
