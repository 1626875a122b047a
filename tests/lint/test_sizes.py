"""Folders and functions that hold more than a reader takes in at once are found."""

import pytest

from tests.lint import sizes


def test_modules_and_tests_of_a_folder_are_counted_apart() -> None:
    modules = [f"a/m{n}.py" for n in range(sizes.MODULES)]
    tests = [f"a/test_m{n}.py" for n in range(sizes.MODULES)]
    assert list(sizes.check_folders([*modules, *tests, "a/__init__.py"])) == []
    (finding,) = sizes.check_folders([*modules, "a/one_more.py"])
    assert (finding.file, finding.rule) == ("a", "folder-size")


@pytest.mark.parametrize("folder", sorted(sizes.FOLDERS))
def test_a_folder_with_a_reason_may_hold_more(folder: str) -> None:
    assert list(sizes.check_folders([f"{folder}/m{n}.py" for n in range(sizes.MODULES + 9)])) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f():\n" + "    a = 1\n" * sizes.LINES, [("f", "51 lines, at most 50")]),
        ("def f():\n" + "    a = 1\n" * (sizes.LINES - 1), []),
        ("def f(a, b, c, *, d, e, f, g): ...", [("f", "7 parameters, at most 6")]),
        ("class C:\n    def f(self, a, b, c, d, e, f): ...", []),
        ("class C:\n    async def f(self, a, b, c, d, e, f, g): ...", [("f", "7 parameters, at most 6")]),
    ],
)
def test_long_functions_and_many_parameters_are_found(text: str, said: list[tuple[str, str]]) -> None:
    assert list(sizes.too_large(text)) == said
