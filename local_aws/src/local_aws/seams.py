"""Replacing functions of ministack, each pinned by a hash of its source.

The local AWS changes a bounded set of ministack's functions. A replacement is written against one exact source text:
another ministack may have fixed, renamed or extended the function, and a blind replacement would then break it without
a word. So every seam names the sha256 of the text it replaces, and `apply` refuses to start when one differs.

    @seams.replaces("ministack.core.lambda_runtime", "_worker_class_for", sha256="…")
    def _worker_class_for(config): ...

`python -m local_aws.seams` lists every seam with the hash found; with `module:name` arguments it prints the
hashes of those functions, for a new seam or a new ministack version.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

EXPECTED_MINISTACK = "1.5.33"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Seam:
    """One function of ministack and what stands in its place."""

    module: str
    name: str
    sha256: str
    replacement: Callable[..., Any]
    also: tuple[str, ...] = ()
    original: Callable[..., Any] | None = field(default=None, repr=False)

    @property
    def target(self) -> str:
        return f"{self.module}:{self.name}"


_seams: dict[str, Seam] = {}


def replaces(module: str, name: str, *, sha256: str, also: Iterable[str] = ()) -> Callable[[F], F]:
    """Register the decorated function as the replacement of `module:name` (`Class.method` for a method).

    `also` lists further `module:name` places that imported the function by name and must be rebound too. Nothing is
    replaced before `apply`. Raises ValueError when the function is already replaced by another seam.
    """

    def register(replacement: F) -> F:
        seam = Seam(module, name, sha256, replacement, tuple(also))
        known = _seams.get(seam.target)
        if known is not None and known.replacement is not replacement:
            raise ValueError(f"{seam.target} is replaced twice: {_where(known.replacement)}, {_where(replacement)}")
        _seams[seam.target] = seam
        return replacement

    return register


def original(module: str, name: str) -> Callable[..., Any]:
    """Ministack's own function behind a seam, for a replacement that adds to it instead of doing all itself."""
    seam = _seams.get(f"{module}:{name}")
    if seam is None:
        raise LookupError(f"{module}:{name} is not replaced by any seam")
    if seam.original is None:
        _, _, seam.original = _resolve(module, name)
    return seam.original


def source_hash(function: Callable[..., Any]) -> str:
    """sha256 (hex) of a function's source text, as `inspect.getsource` gives it."""
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()


def apply() -> None:
    """Check every registered seam, then put the replacements in place. A second call applies what was added since.

    Raises SystemExit with one message that names each function that differs; nothing is replaced in that case.
    """
    pending = [seam for seam in _seams.values() if seam.original is None or _current(seam) is not seam.replacement]
    problems = [problem for seam in pending if (problem := _problem(seam))]
    if problems:
        raise SystemExit(_refusal(problems))
    for seam in pending:
        owner, attribute, function = _resolve(seam.module, seam.name)
        seam.original = seam.original or function
        setattr(owner, attribute, seam.replacement)
        for place in seam.also:
            other_module, _, other_name = place.partition(":")
            other, other_attribute, _ = _resolve(other_module, other_name)
            setattr(other, other_attribute, seam.replacement)


def _problem(seam: Seam) -> str | None:
    """What is wrong with a seam before it is applied, or None."""
    if seam.original is None:
        try:
            seam_function = _resolve(seam.module, seam.name)[2]
        except (ImportError, AttributeError) as error:
            return f"{seam.target} is not there ({error})"
        found = source_hash(seam_function)
    else:
        found = source_hash(seam.original)
    if found != seam.sha256:
        return f"{seam.target} has sha256 {found}, expected {seam.sha256}"
    for place in seam.also:
        module, _, name = place.partition(":")
        try:
            _resolve(module, name)
        except (ImportError, AttributeError) as error:
            return f"{place}, where {seam.target} is imported, is not there ({error})"
    return None


def _refusal(problems: Sequence[str]) -> str:
    lines = "\n  ".join(problems)
    return (
        f"This ministack cannot be extended: the local AWS is written for ministack {EXPECTED_MINISTACK}, "
        f"found {_ministack_version()}. Install the pinned version, or review each replacement and its hash:\n  {lines}"
    )


def _ministack_version() -> str:
    try:
        return importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _resolve(module: str, name: str) -> tuple[Any, str, Callable[..., Any]]:
    """The object that holds the function, the attribute's name there, and the function."""
    owner: Any = importlib.import_module(module)
    *path, attribute = name.split(".")
    owner = functools.reduce(getattr, path, owner)
    return owner, attribute, getattr(owner, attribute)


def _current(seam: Seam) -> Any:
    return _resolve(seam.module, seam.name)[2]


def _where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print hashes: of the named functions, or of every seam with whether it still fits."""
    parser = argparse.ArgumentParser(
        prog="python -m local_aws.seams", description="Hashes of the functions of ministack that are replaced."
    )
    parser.add_argument("function", nargs="*", help="module:name, for instance ministack.services.sqs:handle_request")
    options = parser.parse_args(arguments)
    if options.function:
        for target in options.function:
            module, _, name = target.partition(":")
            print(source_hash(_resolve(module, name)[2]), target)
        return
    from local_aws import launcher

    launcher.prepare_environment(port=0)
    launcher.install_extensions()
    for seam in _seams.values():
        problem = _problem(seam)
        print("ok " if problem is None else "BAD", seam.target, "→", _where(seam.replacement), problem or "")
    if any(_problem(seam) for seam in _seams.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    from local_aws import seams

    seams.main()
