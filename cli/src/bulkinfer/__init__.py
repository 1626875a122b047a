"""Client of terraform-aws-bulk-inference: start runs over a corpus, watch them, read their results.

    from bulkinfer import Client

    client = Client("tickets")
    run = client.run("contracts/", prompt="Which duties does this name?\\n\\n{{text}}", model="us.anthropic.…")
    run.wait(on_progress=print)
    for row in run.results():
        print(row.id, row.text)

Thin: the deployed pipeline does the work. This reads S3 and the deployment's parameter, and starts executions.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulkinfer.client import Client, Run
    from bulkinfer.errors import BulkinferError, RunFailedError, WaitTimeoutError
    from bulkinfer.rows import Row, RowError

__version__ = "0.1.0"
__all__ = ["BulkinferError", "Client", "Row", "RowError", "Run", "RunFailedError", "WaitTimeoutError"]

_MODULES = {
    "Client": "client",
    "Run": "client",
    "Row": "rows",
    "RowError": "rows",
    "BulkinferError": "errors",
    "RunFailedError": "errors",
    "WaitTimeoutError": "errors",
}


def __getattr__(name: str) -> Any:
    """Names are imported when they are asked for: `bulkinfer --help` must not wait for boto3."""
    if name not in _MODULES:
        raise AttributeError(f"module 'bulkinfer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"bulkinfer.{_MODULES[name]}"), name)
