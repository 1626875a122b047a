"""`tests/unit` mirrors the bundle: the test of `corpus/csv_rows.py` is `tests/unit/corpus/test_csv_rows.py`.

A test file is named for its module, or it is a theme, which several modules serve. A module is tested in the file of
its name, or in one that `TESTED_IN` names. Test files import nothing of each other: what several use lies in
`tests/worlds` or beside the suite.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lint.findings import Finding

THEMES: Mapping[str, str] = {
    "aws/test_intake_stores.py": "transactions and queues of the intake, together on one moto",
    "core/test_errors.py": "errors as the state machines handle them",
    "cut/test_boundaries.py": "numbers at which something changes, from corpus to sealed shards",
    "cut/test_hostile_corpora.py": "corpora that want to break the cut, from object to shard",
    "failure_lane/test_rejected_rows.py": "rows that became no records, read again in another way",
    "failure_lane/test_resubmissions.py": "a run over failed records of another: request, plan, cut",
    "handlers/test_inference_handlers.py": "handlers of the state machines, on one set of fakes",
    "handlers/test_intake_handlers.py": "handlers of the intake",
    "handlers/test_lane_handlers.py": "handlers of the failure lane",
    "assembly/test_two_passes.py": "two passes of an assembly, one frozen while the other runs whole",
    "intake/test_pool_runs.py": "pools as runs: their plans, ceilings, outcomes",
    "intake/test_pooling_machine.py": "stateful: documents, kills and passes over pools in any order",
    "land/test_pure_core_machine.py": "stateful: whole runs under any mix of faults",
    "land/test_two_workers.py": "two workers on one unit, one frozen after each of its effects",
    "corpus/test_values_and_ids.py": "what formats write otherwise, values that nobody can name, ids",
    "finish/test_ends_of_answers.py": "answers that were cut or refused, from the model to manifest and report",
    "plan/test_batch_only.py": "what only batch jobs refuse, for each form of a record",
    "plan/test_placeholders.py": "what stands in double braces, from request to prompt",
    "plan/test_plans.py": "what a user sees of planning: report, dry run, bounds",
    "render/test_chunked_records.py": "chunking from the request to the record",
    "plan/test_wrong_corpora.py": "corpora of which nothing useful can come, from objects to sealing",
    "request/test_request_prompts.py": "sections prompt and output of a request together",
    "request/test_run_request_schema.py": "the JSON Schema for users agrees with the parser",
    "sync/test_schema_landing.py": "one schema, checked in a job, on demand and in the failure lane",
}
"""Test files of no single module, each with its subject."""

TESTED_IN: Mapping[str, str] = {
    "assembly/document_joining.py": "assembly/test_assembly.py",
    "assembly/document_sorting.py": "assembly/test_assembly.py",
    "assembly/part_groups.py": "assembly/test_assembly.py",
    "aws/intake_queues.py": "aws/test_intake_stores.py",
    "batch/task_tokens.py": "batch/test_submit_job.py",
    "core/backoff.py": "batch/test_slots.py",
    "core/ceilings.py": "plan/test_plans.py",
    "core/environment.py": "handlers/test_lane_handlers.py",
    "core/json_document.py": "cut/test_hostile_corpora.py",
    "core/keys.py": "cut/test_cut_run.py",
    "core/prices.py": "plan/test_report.py",
    "core/rejections.py": "plan/test_wrong_corpora.py",
    "core/runs_table.py": "aws/test_dynamodb.py",
    "core/settings.py": "core/test_tenants.py",
    "core/stored_run.py": "plan/test_plan_run.py",
    "core/times.py": "watch/test_stop_run.py",
    "corpus/compression.py": "cut/test_hostile_corpora.py",
    "corpus/disguises.py": "plan/test_wrong_corpora.py",
    "corpus/rows.py": "corpus/test_reader.py",
    "cut/seal_run.py": "cut/test_cut_run.py",
    "finish/report_parts.py": "finish/test_report_page.py",
    "finish/reporting.py": "finish/test_finishing.py",
    "intake/ceilings.py": "intake/test_pool_runs.py",
    "intake/document_outcomes.py": "intake/test_urgent_documents.py",
    "intake/documents.py": "intake/test_message.py",
    "intake/intake_status.py": "intake/test_consumer.py",
    "intake/pool_outcomes.py": "intake/test_consumer.py",
    "intake/stored_prompts.py": "intake/test_urgent_documents.py",
    "land/late_outcomes.py": "failure_lane/test_redrive.py",
    "intake/window_marks.py": "intake/test_urgent_documents.py",
    "land/scope_landings.py": "intake/test_pool_runs.py",
    "plan/run_plan.py": "plan/test_plan_run.py",
    "plan/sampling.py": "plan/test_plans.py",
    "render/media.py": "render/test_rendering.py",
    "render/record_bodies.py": "plan/test_batch_only.py",
    "request/chunking.py": "render/test_chunked_records.py",
    "request/fields.py": "request/test_parse.py",
    "request/limits.py": "request/test_parse.py",
    "request/output.py": "request/test_request_prompts.py",
    "request/prompt.py": "request/test_request_prompts.py",
    "request/recombine.py": "render/test_chunked_records.py",
    "request/source.py": "request/test_parse.py",
    "structured/checker.py": "structured/test_admission.py",
    "structured/compiling.py": "structured/test_admission.py",
}
"""Modules without a test file of their own, and where they are tested."""

_UNTESTED = {"__init__", "ports", "errors"}
"""No code of their own: protocols, and classes of errors."""


def check(root: Path) -> Iterator[Finding]:
    package, tests = root / "lambdas" / "bulk_inference", root / "tests" / "unit"
    modules = {path.relative_to(package).as_posix() for path in package.glob("*/*.py") if path.stem not in _UNTESTED}
    handlers = {module for module in modules if module.startswith("handlers/")}
    found = {path.relative_to(tests).as_posix() for path in tests.glob("**/test_*.py")}
    yield from check_names(modules - handlers, found, THEMES, TESTED_IN)
    yield from check_page({path.stem: path.parent.name for path in package.glob("*/*.py")}, _page(root))
    for path in sorted((root / "tests").rglob("*.py")):
        yield from check_imports(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def check_names(
    modules: set[str], tests: set[str], themes: Mapping[str, str], tested_in: Mapping[str, str]
) -> Iterator[Finding]:
    """`modules`: `package/module.py`; `tests`: `package/test_module.py`."""
    own = {module.replace("/", "/test_"): module for module in modules}
    for test in sorted(tests - own.keys() - themes.keys()):
        yield Finding(
            f"tests/unit/{test}", "file", "mirror", "no module has its name, and mirror.py names no theme for it"
        )
    for test in sorted(themes.keys() - tests | themes.keys() & own.keys()):
        yield Finding("tests/lint/mirror.py", test, "mirror", "is no theme: remove its row")
    for test, module in sorted(own.items()):
        if test not in tests and module not in tested_in:
            yield Finding(
                f"lambdas/bulk_inference/{module}",
                "file",
                "mirror",
                f"no tests/unit/{test}: write it, or say in mirror.py where",
            )
    for module, test in sorted(tested_in.items()):
        if module not in modules or test not in tests or module.replace("/", "/test_") in tests:
            yield Finding("tests/lint/mirror.py", module, "mirror", f"is not tested in {test} alone: correct its row")


def _page(root: Path) -> str:
    return (root / "docs" / "architecture.md").read_text(encoding="utf-8")


def check_page(packages: Mapping[str, str], page: str) -> Iterator[Finding]:
    """docs/architecture.md names every module of logic, and no module that is not there. `packages`: by module."""
    for module, package in sorted(packages.items()):
        if package not in ("aws", "handlers") and module != "__init__" and f"`{module}`" not in page:
            yield Finding("docs/architecture.md", module, "mirror", f"names no `{module}` at the package {package}")
    for named in sorted({*re.findall(r"`(\w+)\.py`", page)} - packages.keys()):
        yield Finding("docs/architecture.md", named, "mirror", f"there is no module {named}.py")


def check_imports(file: str, text: str) -> Iterator[Finding]:
    """A test that borrows from another one cannot be moved, split or run alone without a look at that one."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for name in (f"{module}{alias.name}" for alias in node.names):
            if name.startswith("tests.") and any(part.startswith("test_") for part in name.split(".")):
                yield Finding(file, f"line {node.lineno}", "test-imports", f"imports {name}: move what both use")
