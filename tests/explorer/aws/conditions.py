"""Expressions of DynamoDB: conditions and updates, as its developer guide has them, on items in wire form.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

Value = Mapping[str, Any]
Attributes = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Value]
Operand = Callable[[Attributes, Names, Values], Value | None]
Condition = Callable[[Attributes, Names, Values], bool]
Change = Callable[[Attributes, Attributes, Names, Values], None]
"""Old item, new item."""

_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),.+\-\[\]]|[:#]?[A-Za-z_0-9]+)")


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        assert "".join(self._tokens) == re.sub(r"\s", "", text), f"not understood: {text}"
        self._at = 0

    @property
    def next(self) -> str:
        return str(self._tokens[self._at]) if self._at < len(self._tokens) else ""

    def take(self, *wanted: str) -> bool:
        if self.next.upper() in wanted or self.next in wanted:
            self._at += 1
            return True
        return False

    def expect(self, wanted: str) -> None:
        assert self.take(wanted), f"{wanted} expected, {self.next} found"

    def word(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1])

    # Conditions.

    def condition(self) -> Condition:
        left = self._all()
        while self.take("OR"):
            left = _either(left, self._all())
        return left

    def _all(self) -> Condition:
        left = self._not()
        while self.take("AND"):
            left = _both(left, self._not())
        return left

    def _not(self) -> Condition:
        if self.take("NOT"):
            inner = self._not()
            return lambda item, names, values: not inner(item, names, values)
        if self.take("("):
            inner = self.condition()
            self.expect(")")
            return inner
        if self.next in _FUNCTIONS:
            return self._function(self.word())
        return self._comparison()

    def _function(self, name: str) -> Condition:
        self.expect("(")
        one = self.operand()
        other = self.operand() if self.take(",") else None
        self.expect(")")
        return lambda item, names, values: _FUNCTIONS[name](
            one(item, names, values), other(item, names, values) if other else None
        )

    def _comparison(self) -> Condition:
        left = self.operand()
        if self.take("BETWEEN"):
            low = self.operand()
            self.expect("AND")
            high = self.operand()
            return lambda i, n, v: (
                _compare(">=", left(i, n, v), low(i, n, v)) and _compare("<=", left(i, n, v), high(i, n, v))
            )
        if self.take("IN"):
            self.expect("(")
            options = [self.operand()]
            while self.take(","):
                options.append(self.operand())
            self.expect(")")
            return lambda i, n, v: any(_compare("=", left(i, n, v), one(i, n, v)) for one in options)
        sign, right = self.word(), self.operand()
        return lambda i, n, v: _compare(sign, left(i, n, v), right(i, n, v))

    # Operands.

    def operand(self) -> Operand:
        left = self._term()
        while self.next in ("+", "-"):
            left = _sum(self.word(), left, self._term())
        return left

    def _term(self) -> Operand:
        word = self.word()
        if word in ("if_not_exists", "list_append", "size"):
            return self._made(word)
        if word.startswith(":"):
            return lambda item, names, values: values[word]
        path = [word]
        while self.take("."):
            path.append(self.word())
        return lambda item, names, values: _at(item, [names.get(one, one) for one in path])

    def _made(self, word: str) -> Operand:
        self.expect("(")
        one = self.operand()
        other = self.operand() if self.take(",") else None
        self.expect(")")
        if word == "size":
            return lambda i, n, v: {"N": str(_size(one(i, n, v)))}
        assert other is not None
        if word == "if_not_exists":
            return lambda i, n, v: one(i, n, v) or other(i, n, v)
        return lambda i, n, v: {"L": [*(one(i, n, v) or {"L": []})["L"], *(other(i, n, v) or {"L": []})["L"]]}

    # Updates.

    def update(self) -> list[Change]:
        changes: list[Change] = []
        while self.next:
            clause = self.word().upper()
            changes.append(_CLAUSES[clause](self))
            while self.take(","):
                changes.append(_CLAUSES[clause](self))
        return changes

    def set_(self) -> Change:
        name = self.word()
        self.expect("=")
        value = self.operand()

        def change(old: Attributes, new: Attributes, names: Names, values: Values) -> None:
            found = value(old, names, values)
            assert found is not None, f"SET {name}: an operand is missing"
            new[names.get(name, name)] = found

        return change

    def add(self) -> Change:
        name, value = self.word(), self.operand()

        def change(old: Attributes, new: Attributes, names: Names, values: Values) -> None:
            attribute, given = names.get(name, name), value(old, names, values) or {}
            known = old.get(attribute)
            if "N" in given:
                new[attribute] = {"N": str(Decimal((known or {"N": "0"})["N"]) + Decimal(given["N"]))}
            else:
                (kind,) = given
                new[attribute] = {kind: sorted({*(known or {kind: []})[kind], *given[kind]})}

        return change

    def delete(self) -> Change:
        name, value = self.word(), self.operand()

        def change(old: Attributes, new: Attributes, names: Names, values: Values) -> None:
            attribute, given = names.get(name, name), value(old, names, values) or {}
            (kind,) = given
            left = [one for one in old.get(attribute, {kind: []})[kind] if one not in given[kind]]
            # A set is never empty.
            new.pop(attribute, None)
            if left:
                new[attribute] = {kind: left}

        return change

    def remove(self) -> Change:
        name = self.word()
        return lambda old, new, names, values: new.pop(names.get(name, name), None)


_CLAUSES: dict[str, Callable[[_Parser], Change]] = {
    "SET": _Parser.set_,
    "ADD": _Parser.add,
    "DELETE": _Parser.delete,
    "REMOVE": _Parser.remove,
}


def _both(left: Condition, right: Condition) -> Condition:
    return lambda item, names, values: left(item, names, values) and right(item, names, values)


def _either(left: Condition, right: Condition) -> Condition:
    return lambda item, names, values: left(item, names, values) or right(item, names, values)


def _sum(sign: str, left: Operand, right: Operand) -> Operand:
    def value(item: Attributes, names: Names, values: Values) -> Value | None:
        one, other = left(item, names, values), right(item, names, values)
        assert one is not None, "the first operand is missing"
        assert other is not None, "the second operand is missing"
        number = Decimal(other["N"])
        return {"N": str(Decimal(one["N"]) + (number if sign == "+" else -number))}

    return value


def _at(item: Attributes, path: list[str]) -> Value | None:
    found: Any = item.get(path[0])
    for one in path[1:]:
        found = (found or {}).get("M", {}).get(one)
    return found  # type: ignore[no-any-return]


def _plain(value: Value) -> tuple[str, Any]:
    ((kind, content),) = value.items()
    return kind, Decimal(content) if kind == "N" else set(content) if kind in ("SS", "NS") else content


def _compare(sign: str, left: Value | None, right: Value | None) -> bool:
    """An attribute that is not there compares as false, but for `<>`."""
    if left is None or right is None:
        return sign == "<>" and left is not right
    (kind, one), (other_kind, other) = _plain(left), _plain(right)
    if sign in ("=", "<>"):
        return ((kind, one) == (other_kind, other)) is (sign == "=")
    if kind != other_kind:
        return False
    return bool({"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign])


def _size(value: Value | None) -> int:
    return len(_plain(value)[1]) if value else 0


def _contains(value: Value | None, other: Value | None) -> bool:
    if value is None or other is None:
        return False
    (kind, content), (_, wanted) = _plain(value), _plain(other)
    return dict(other) in content if kind == "L" else wanted in content


_FUNCTIONS: dict[str, Callable[[Value | None, Value | None], bool]] = {
    "attribute_exists": lambda one, _: one is not None,
    "attribute_not_exists": lambda one, _: one is None,
    "begins_with": lambda one, other: one is not None and other is not None and one["S"].startswith(other["S"]),
    "contains": _contains,
    "attribute_type": lambda one, other: one is not None and other is not None and other["S"] in one,
}


@cache
def condition(text: str) -> Condition:
    parser = _Parser(text)
    found = parser.condition()
    assert not parser.next, f"{parser.next} in {text}"
    return found


@cache
def update(text: str) -> list[Change]:
    return _Parser(text).update()
