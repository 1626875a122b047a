"""`make lint` beyond ruff and mypy: rules for state machines, module boundaries and HCL. Run by `python -m tests.lint`.

Each rule is a function from what it reads to findings, and has a test here that breaks it.
"""
