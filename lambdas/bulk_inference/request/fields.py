"""Reads typed fields of a request and gathers what is wrong with them, each by its field and its rule."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias

Problems: TypeAlias = list[str]
"""Grows while a request is read: `{path}: {rule}`."""


class Fields:
    """One object of a request. Reading never raises: a field that breaks its rule becomes a problem, and reads as None
    (or as an empty object), so that the other fields are looked at too."""

    def __init__(self, given: Mapping[str, Any], problems: Problems, path: str = "") -> None:
        """`path`: of this object in the request, such as `prompt.inference`; empty for the request itself."""
        self.given = given
        self.path = path
        self._problems = problems

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def problem(self, name: str, rule: str) -> None:
        """Says that a field of this object breaks a rule; with an empty name, that the object itself does."""
        self._problems.append(f"{self._path_of(name)}: {rule}")

    def only(self, allowed: Iterable[str], unlisted: Iterable[str] = ()) -> None:
        """Refuses other keys than these. `unlisted` ones are allowed, but no error names them."""
        known, silent = list(allowed), set(unlisted)
        for name in self.given:
            if name not in known and name not in silent:
                self.problem(name, f"unknown key{near(name, known)}; known here: {listed(known)}")

    def section(self, name: str, allowed: Iterable[str] | None) -> "Fields":
        """An object that may be left out; empty if it is, or is something else. None allows every key."""
        value = self.given.get(name, {})
        if not isinstance(value, Mapping):
            self.problem(name, "must be an object")
            value = {}
        fields = Fields(value, self._problems, self._path_of(name))
        if allowed is not None:
            fields.only(allowed)
        return fields

    def sections(self, name: str, allowed: Iterable[str]) -> list["Fields"]:
        """A list of objects that may be left out; empty if it is, or is something else."""
        value = self.given.get(name, [])
        if not isinstance(value, list):
            self.problem(name, "must be a list of objects")
            return []
        known = list(allowed)
        found = []
        for number, item in enumerate(value):
            if not isinstance(item, Mapping):
                self.problem(f"{name}[{number}]", "must be an object")
                continue
            found.append(Fields(item, self._problems, self._path_of(f"{name}[{number}]")))
            found[-1].only(known)
        return found

    def text(self, name: str) -> str | None:
        if name not in self.given:
            return None
        value = self.given[name]
        if not isinstance(value, str) or not value.strip():
            self.problem(name, "must be a string that is not empty")
            return None
        return value

    def texts(self, name: str) -> list[str] | None:
        """A list of strings, none of them empty. None if it is left out, or is something else."""
        if name not in self.given:
            return None
        value = self.given[name]
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            self.problem(name, "must be a list of strings that are not empty")
            return None
        return list(value)

    def choice(self, name: str, options: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in options:
            self.problem(name, f"must be one of {listed(options)}, not {value!r}{near(value, options)}")
            return None
        return value

    def flag(self, name: str) -> bool | None:
        if name not in self.given:
            return None
        value = self.given[name]
        if not isinstance(value, bool):
            self.problem(name, "must be true or false")
            return None
        return value

    def whole(self, name: str, low: float, high: float) -> int | None:
        """JSON from other languages may spell a whole number 3.0."""
        value = self._within(name, low, high)
        if value is not None and value != int(value):
            value = None
        if value is None and name in self.given:
            self.problem(name, f"must be a whole number from {low} to {high}")
        return None if value is None else int(value)

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self._within(name, low, high)
        if value is None and name in self.given:
            self.problem(name, f"must be a number from {low} to {high}")
        return value

    def _within(self, name: str, low: float, high: float) -> float | None:
        value = self.given.get(name)
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        return value if numeric and low <= value <= high else None  # type: ignore[operator]

    def _path_of(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path and name else self.path or name


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "null")


def listed(names: Iterable[str]) -> str:
    """Names as an error shows them."""
    return ", ".join(sorted(names)) or "nothing"


def near(given: str, known: Iterable[str]) -> str:
    """A question that names what was probably meant; empty if nothing is spelled like it."""
    by_folded = {one.casefold().replace("-", "_"): one for one in known}
    close = get_close_matches(given.casefold().replace("-", "_"), by_folded, n=1, cutoff=0.75)
    return f" (did you mean {by_folded[close[0]]}?)" if close else ""
