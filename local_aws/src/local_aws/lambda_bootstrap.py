"""The Python runtime of a Lambda worker: loads one function's handler, then answers invocations until its end.

Run as a script in a process of its own, `lambda_bootstrap.py REQUESTS RESPONSES` with two inherited file descriptors.
A request and an answer are one line of JSON each. Standard library only, and nothing of the local AWS: the function
must find here what AWS gives it and no more. Behaviour follows
https://docs.aws.amazon.com/lambda/latest/dg/python-handler.html, python-context.html, python-exceptions.html and
python-logging.html.

    first answer  {"ready": true} | {"init": ERROR}
    request       {"event", "requestId", "functionArn", "deadline": epoch seconds, "traceId"?}
    answer        {"result": …, "memory": bytes} | {"error": ERROR, "memory": bytes}
    ERROR         {"errorMessage", "errorType", "requestId"?, "stackTrace": [str]}

Before an answer the bytes `END_OF_LOG` + request id + newline go to stdout, so that the reader of the log knows that it
has everything the invocation printed.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

END_OF_LOG = b"\x00END "
# Synchronous response payload: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100
_OWN_FILE = __file__
_WATCH_SECONDS = 0.2


class Identity:
    """Cognito identity of a mobile caller; there is none here."""

    cognito_identity_id = None
    cognito_identity_pool_id = None


class Context:
    """The context object: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.invoked_function_arn = request["functionArn"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.aws_request_id = request["requestId"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = Identity()
        self.client_context = None
        self._deadline = float(request["deadline"])

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.time()) * 1000))


class LogFormat(logging.Formatter):
    """`[LEVEL] time request-id message`, as the runtime's own handler on the root logger writes it."""

    request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = f"[{record.levelname}]\t{stamp}.{int(record.msecs):03d}Z\t{self.request_id}\t{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def main() -> None:
    requests = os.fdopen(int(sys.argv[1]), "rb")
    responses = os.fdopen(int(sys.argv[2]), "wb")
    sys.argv = [""]
    threading.Thread(target=_watch, name="lambda-watch", daemon=True).start()
    formatter = LogFormat()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)

    function, error = _load(os.environ["_HANDLER"])
    if error is not None:
        _log_error(error)
        _finish_log("init")
        _send(responses, {"init": error})
        return
    assert function is not None
    _send(responses, {"ready": True})
    for line in requests:
        request = json.loads(line)
        formatter.request_id = request["requestId"]
        _set_trace(request.get("traceId"))
        answer = _invoke(function, request)
        if "error" in answer:
            _log_error(answer["error"])
        answer["memory"] = peak_memory()
        _finish_log(request["requestId"])
        _send(responses, answer)


def _load(handler: str) -> tuple[Callable[..., Any] | None, dict[str, Any] | None]:
    """The handler function, or the error that Lambda reports for a handler that cannot be loaded."""
    module_name, _, function_name = handler.rpartition(".")
    if not module_name:
        return None, _problem("Runtime.MalformedHandlerName", f"Bad handler '{handler}': not enough values to unpack")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        return None, _problem("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}")
    except SyntaxError as error:
        return None, _problem("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}")
    except Exception as error:
        return None, describe(error)
    function = getattr(module, function_name, None)
    if function is None:
        return None, _problem("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")
    return function, None


def _invoke(function: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
    request_id = request["requestId"]
    try:
        result = function(request["event"], Context(request))
    except Exception as error:
        return {"error": {**describe(error), "requestId": request_id}}
    try:
        size = len(json.dumps(result))
    except Exception as error:
        return {"error": {**_problem("Runtime.MarshalError", f"Unable to marshal response: {error}")}}
    if size > MAX_RESPONSE_BYTES:
        text = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
        return {"error": _problem("Function.ResponseSizeTooLarge", text)}
    return {"result": result}


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as Lambda reports it: its own class name, its text, and the frames of the function's code."""
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": traceback.format_list(_frames(error.__traceback__)),
    }


def _frames(trace: TracebackType | None) -> traceback.StackSummary:
    frames = traceback.extract_tb(trace)
    inner = [frame for frame in frames if frame.filename != _OWN_FILE and "importlib" not in frame.filename]
    return traceback.StackSummary.from_list(inner)


def _problem(kind: str, text: str) -> dict[str, Any]:
    return {"errorMessage": text, "errorType": kind, "stackTrace": []}


def _log_error(error: dict[str, Any]) -> None:
    sys.stdout.write(f"[ERROR] {error['errorType']}: {error['errorMessage']}\n")
    if error["stackTrace"]:
        sys.stdout.write("Traceback (most recent call last):\n" + "".join(error["stackTrace"]))


def _set_trace(trace_id: str | None) -> None:
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)


def _finish_log(request_id: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        # A handler may have replaced or closed them.
        if stream is not None and not stream.closed:
            stream.flush()
    os.write(1, END_OF_LOG + request_id.encode() + b"\n")


def _send(responses: Any, answer: dict[str, Any]) -> None:
    responses.write(json.dumps(answer).encode() + b"\n")
    responses.flush()


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes; 0 where the system does not tell.

    Not `ru_maxrss`: that one is inherited over fork and exec from a parent that may be far larger.
    """
    return _status_field("VmHWM:")


def _status_field(name: str) -> int:
    try:
        with open("/proc/self/status", "rb") as status:  # noqa: PTH123 - called often, by a function's own clock
            for line in status:
                if line.startswith(name.encode()):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _watch() -> None:
    """End this process with the server that started it, and kill it when it uses more memory than the function has.

    Lambda kills an environment that runs out of memory: https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html.
    """
    parent = os.getppid()
    limit = int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) * 1024 * 1024
    while True:
        time.sleep(_WATCH_SECONDS)
        if os.getppid() != parent:
            os._exit(1)
        if _status_field("VmRSS:") > limit:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
