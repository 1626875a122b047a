"""import-linter's contract of this bundle: a package imports `core`, itself, and what its row in pyproject.toml names.

import-linter's own contracts say what is forbidden: with 17 packages that is 17 lists which a new package is missing
from. This one says what is allowed, so that a package without a row may import nothing.
"""

from collections.abc import Iterable
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class PackagesContract(Contract):
    """Options: `root` (dotted name), `shared` (a package that all may import), `free` (packages that may import all),
    `allowed` (rows `package: package …`)."""

    root = fields.StringField()
    shared = fields.StringField()
    free = fields.ListField(subfield=fields.StringField(), required=False)
    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        root, shared = str(self.root), str(self.shared)
        rows = {
            name.strip(): set(others.split()) for name, _, others in (row.partition(":") for row in _list(self.allowed))
        }
        free = set(_list(self.free))
        broken: list[str] = []
        for importer in sorted(graph.modules):
            package = _package(importer, root)
            if package is None or package in free:
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                other = _package(imported, root)
                if other not in (None, package, shared) and other not in rows.get(package, ()):
                    broken.append(f"{importer} imports {imported}: `{package}` may not import `{other}`")
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["broken"]:
            output.print_error(line, bold=False)


def _list(value: object) -> Iterable[str]:
    """import-linter sets the fields of a contract to plain values; their annotations do not say so."""
    return cast("Iterable[str] | None", value) or ()


def _package(module: str, root: str) -> str | None:
    """The package below `root` that a module belongs to; None: it lies outside, or is the root itself."""
    below = module.removeprefix(f"{root}.")
    return below.split(".")[0] if below != module else None
