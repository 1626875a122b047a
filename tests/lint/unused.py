"""HCL that nothing uses: variables, locals and data sources of a folder that no other line of it names."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.lint import hcl
from tests.lint.findings import Finding


def check(root: Path) -> Iterator[Finding]:
    """Tests may read a local, too; nobody outside a folder reads its variables and data."""
    for folder in hcl.folders(root):
        texts = {path: path.read_text(encoding="utf-8") for path in hcl.files(folder)}
        code = "\n".join(re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE) for text in texts.values())
        for path, text in texts.items():
            file = path.relative_to(root).as_posix()
            for name in unused(text, code):
                yield Finding(file, name, "unused", "nothing in this folder uses it")


def unused(text: str, code: str) -> Iterator[str]:
    """What `text` declares and `code`, the whole folder, never names."""
    for name in re.findall(r'^variable "(\w+)"', text, re.MULTILINE):
        if not re.search(rf"\bvar\.{name}\b", code):
            yield f"var.{name}"
    for body in re.findall(r"^locals \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        for name in re.findall(r"^  (\w+)\s+=", body, re.MULTILINE):
            if not re.search(rf"\blocal\.{name}\b", code):
                yield f"local.{name}"
    for kind, name in re.findall(r'^data "(\w+)" "(\w+)"', text, re.MULTILINE):
        if not re.search(rf"\bdata\.{kind}\.{name}\b", code):
            yield f"data.{kind}.{name}"
