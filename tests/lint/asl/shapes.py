"""Shapes of JSON values as far as they are known: which members are there for certain, which may be."""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """An object with these members and no others; `open`: anything may be there, below and beside.

    A scalar is an object without members: there is nothing below it.
    """

    members: dict[str, "Shape"] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    open: bool = False
    when: frozenset[tuple[str, str]] = frozenset()
    """(value of the member `next`, optional member that is there then)."""

    def certain(self, path: list[str]) -> "Shape":
        """Once a Choice has asked for it: what stands at the path is there."""
        if not path or path[0] not in self.members:
            return self
        first, *rest = path
        members = {**self.members, first: self.members[first].certain(rest)}
        return Shape(members, self.optional - {first}, self.open, self.when)

    def chosen(self, path: list[str], value: str) -> "Shape":
        """Once a Choice has found `value` in the member `next` at the path."""
        if path == ["next"]:
            found = {member for told, member in self.when if told == value}
            return Shape(self.members, self.optional - found, self.open, self.when)
        if not path or path[0] not in self.members:
            return self
        first, *rest = path
        members = {**self.members, first: self.members[first].chosen(rest, value)}
        return Shape(members, self.optional, self.open, self.when)

    def put(self, path: list[str], value: "Shape") -> "Shape":
        """With `value` at a reference path, as ResultPath puts it; objects on the way come to be."""
        if not path:
            return value
        first, *rest = path
        below = self.members.get(first, Shape(open=self.open))
        members = {**self.members, first: below.put(rest, value)}
        return Shape(members, self.optional - {first}, self.open, self.when)

    def at(self, path: list[str], present: frozenset[str] = frozenset()) -> "Shape | str":
        """What stands at a path, or why that is not certain. `present`: paths that a Choice has asked for."""
        here, walked = self, "$"
        for name in path:
            walked += f".{name}"
            if name in here.members:
                if name in here.optional and walked not in present:
                    return f"{walked} is not there in every case: ask for IsPresent first"
                here = here.members[name]
            elif here.open:
                here = ANYTHING
            else:
                known = ", ".join(sorted(here.members)) or "nothing"
                return f"{walked} is read, and there is {known}"
        return here


ANYTHING = Shape(open=True)
SCALAR = Shape()
ERROR = Shape({"Error": SCALAR, "Cause": SCALAR})
"""What a Catch hands on."""


def meet(one: Shape, other: Shape) -> Shape:
    """What is certain whichever of two ways led here."""
    if one.open and not one.members:
        return other
    if other.open and not other.members:
        return one
    both = one.members.keys() & other.members.keys()
    members = {name: meet(one.members[name], other.members[name]) for name in both}
    either = {**one.members, **other.members}
    extra = {name: either[name] for name in either if name not in both}
    # What only one way makes may be there: a Choice may ask for it.
    optional = (one.optional | other.optional) | extra.keys()
    return Shape({**members, **extra}, frozenset(optional), one.open or other.open, one.when | other.when)


def steps(path: str) -> list[str] | None:
    """`$.a.b` and `$['a'].b[0]` as member names; None for what is no plain path: a filter, a wildcard."""
    if not re.fullmatch(r"\$(\.[A-Za-z_][\w-]*|\['[^']+'\]|\[\d+\])*", path):
        return None
    return [dotted or quoted for dotted, quoted in re.findall(r"\.([\w-]+)|\['([^']+)'\]", path)]


def typed_dicts(path: Path) -> dict[str, Shape]:
    """The TypedDicts of a module, by name. A member of another type than a TypedDict is a scalar; Any is anything."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    made: dict[str, Shape] = {}

    def shape(name: str) -> Shape:
        if name not in made:
            members, optional, when = {}, set(), set()
            for line in classes[name].body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    kind = ast.unparse(line.annotation)
                    if kind.startswith("NotRequired["):
                        kind = kind.removeprefix("NotRequired[").removesuffix("]")
                        optional.add(line.target.id)
                    annotated = re.fullmatch(r"Annotated\[(\w+), '(\w+)'\]", kind)
                    if annotated:
                        kind = annotated[1]
                        when.add((annotated[2], line.target.id))
                    members[line.target.id] = value(kind)
            made[name] = Shape(members, frozenset(optional), when=frozenset(when))
        return made[name]

    def value(kind: str) -> Shape:
        if kind == "Any" or kind.startswith(("list[", "dict[")):
            return ANYTHING
        return shape(kind) if kind in classes else SCALAR

    return {name: shape(name) for name in classes}
