"""Globs over keys: `*` and `?` within one folder, `**` across folders, `[a-z]` one of some characters."""

import re
from typing import Final

from bulk_inference.core.linear_patterns import LinearPattern, PatternError, linear

_ANY: Final = r"[\s\S]*"

_SPECIAL: Final = re.compile(r"[*?\[]")


class GlobError(ValueError):
    """A pattern that means nothing."""


def literal_prefix(glob: str) -> str:
    """What every key that matches begins with: it is what is listed."""
    found = _SPECIAL.search(glob)
    return glob if found is None else glob[: found.start()]


def compiled(glob: str) -> LinearPattern:
    """Raises GlobError. Matching takes time linear in the key, however many wildcards follow each other."""
    text, position = "", 0
    while position < len(glob):
        character = glob[position]
        if glob.startswith("**/", position):
            # Also no folder at all: a/**/b matches a/b.
            text, position = text + r"(?:[^/]+/)*", position + 3
        elif glob.startswith("**", position):
            text, position = text + _ANY, position + 2
        elif character == "*":
            text, position = text + "[^/]*", position + 1
        elif character == "?":
            text, position = text + "[^/]", position + 1
        elif character == "[":
            end = glob.find("]", position + 2)
            if end < 0:
                raise GlobError("a [ that no ] closes")
            members = glob[position + 1 : end]
            negated = members.startswith(("!", "^"))
            members = members[1:] if negated else members
            escaped = re.sub(r"([\\\]\[^&~|])", r"\\\1", members)
            text, position = f"{text}[{'^/' if negated else ''}{escaped}]", end + 1
        else:
            text, position = text + re.escape(character), position + 1
    try:
        return linear(text)
    except PatternError as error:
        raise GlobError(str(error)) from None
