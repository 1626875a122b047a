"""What the clients have in common: requests as effects of the worker that makes them, and AWS's errors."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from tests.explorer.workers import current

T = TypeVar("T")


def error(code: str, operation: str, message: str = "", status: int = 400, **members: Any) -> ClientError:
    """As boto3 raises it; `members` stand beside `Error`, as modelled errors have them."""
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": message or code},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **members,
    }
    return ClientError(response, operation)  # type: ignore[arg-type]


class Service:
    """One client. `busy` and `denied` are the codes by which the service refuses for now, and for want of a right."""

    name = ""
    busy = "ThrottlingException"
    denied = "AccessDeniedException"
    passes: Callable[[], None] = staticmethod(lambda: None)
    """Lets the time pass that a request takes."""

    def write(self, operation: str, what: str, apply: Callable[[bool], T]) -> T:
        """An effect. `apply` gets whether only a part of the request is to get through."""
        worker = current()
        if worker is None:
            return apply(False)
        self.passes()

        def refuse(why: str) -> Exception:
            return error(self.busy if why == "refuse" else self.denied, operation, status=503)

        kind = f"{self.name} {operation}"
        return worker.effect(kind, f"{kind} {what}", apply, refuse)

    def read(self) -> None:
        """A request that changes nothing: the dead make none."""
        worker = current()
        if worker is not None:
            worker.require_alive()


class Pages:
    """A paginator whose one page holds everything."""

    def __init__(self, page: Callable[..., dict[str, Any]]) -> None:
        self._page = page

    def paginate(self, **parameters: Any) -> Iterator[dict[str, Any]]:
        yield self._page(**parameters)
