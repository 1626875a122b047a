"""Python functions of the local Lambda.

Pages: "Define Lambda function handler in Python", "Using the Lambda context object", "Handling exceptions in Python",
"Working with environment variables" (defined runtime environment variables), "Working with layers", "Lambda quotas".
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from archives import zipped
from local_aws import LocalAws, lambda_bootstrap

Make = Callable[..., str]
Invoke = Callable[..., tuple[Any, str | None]]

FAILS = """
    class PoisonError(Exception):
        pass

    calls = 0

    def handler(event, context):
        global calls
        calls += 1
        if event.get("poison"):
            raise PoisonError("record 7 is bad")
        return calls
"""


def test_exception_is_reported_under_its_own_class_name(make_function: Make, invoke: Invoke) -> None:
    """Handling exceptions in Python: errorType is the exception's class, stackTrace its frames, Unhandled the mark."""
    payload, mark = invoke(make_function(FAILS), {"poison": True})
    assert mark == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("PoisonError", "record 7 is bad")
    assert any("in handler" in frame for frame in payload["stackTrace"])
    assert not any("lambda_bootstrap" in frame for frame in payload["stackTrace"])


def test_environment_survives_an_exception(make_function: Make, invoke: Invoke) -> None:
    """Lambda runtime environment: a failed invocation leaves the environment in use; module state is kept."""
    name = make_function(FAILS)
    assert invoke(name) == (1, None)
    invoke(name, {"poison": True})
    assert invoke(name) == (3, None)


def test_exception_of_the_sdk_keeps_its_code_as_name(
    make_function: Make, make_role: Make, invoke: Invoke, unique: str
) -> None:
    """boto3's modelled errors are classes named as their code: a Retry on `ResourceNotFoundException` matches."""
    source = f"""
        import boto3
        def handler(event, context):
            boto3.client("dynamodb").describe_table(TableName="{unique}")
    """
    name = make_function(source, Role=make_role({"dynamodb:DescribeTable": "*"}), MemorySize=256)
    assert invoke(name)[0]["errorType"] == "ResourceNotFoundException"


def test_process_that_exits_is_a_runtime_exit_error(make_function: Make, invoke: Invoke) -> None:
    """Troubleshoot invocation issues: `Runtime exited with error: exit status N`, then a new environment."""
    name = make_function("""
        import os
        def handler(event, context):
            if event.get("exit"):
                os._exit(3)
            return "alive"
    """)
    payload, mark = invoke(name, {"exit": True})
    assert (payload["errorType"], mark) == ("Runtime.ExitError", "Unhandled")
    assert "Runtime exited with error: exit status 3" in payload["errorMessage"]
    assert invoke(name) == ("alive", None)


def test_timeout_is_sandbox_timedout(make_function: Make, invoke: Invoke) -> None:
    """Troubleshoot invocation issues: `Task timed out after N seconds`; Step Functions sees `Sandbox.Timedout`."""
    name = make_function("import time\ndef handler(event, context): time.sleep(60)", Timeout=1)
    payload, mark = invoke(name)
    assert (payload["errorType"], mark) == ("Sandbox.Timedout", "Unhandled")
    assert "Task timed out after 1.00 seconds" in payload["errorMessage"]


def test_environment_over_its_memory_is_killed(make_function: Make, invoke: Invoke) -> None:
    """Troubleshoot invocation issues: an environment out of memory ends with `signal: killed`."""
    name = make_function("""
        import time
        def handler(event, context):
            held = bytearray(300 * 1024 * 1024)
            time.sleep(60)
    """)
    payload, _ = invoke(name)
    assert payload["errorType"] == "Runtime.ExitError"
    assert "signal: killed" in payload["errorMessage"]


@pytest.mark.parametrize(
    ("files", "handler", "kind", "text"),
    [
        ({"app.py": "import no_such_module"}, "app.handler", "Runtime.ImportModuleError", "No module named"),
        ({"app.py": "def broken(:"}, "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ({"app.py": ""}, "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ({"app.py": "raise LookupError('no setting')"}, "app.handler", "LookupError", "no setting"),
    ],
)
def test_handler_that_cannot_be_loaded_is_named(
    make_function: Make, invoke: Invoke, files: dict[str, str], handler: str, kind: str, text: str
) -> None:
    """Troubleshoot invocation and deployment issues: the runtime's own error types for a handler it cannot load."""
    payload, mark = invoke(make_function("", Code={"ZipFile": zipped(files)}, Handler=handler))
    assert (payload["errorType"], mark) == (kind, "Unhandled")
    assert text in payload["errorMessage"]


def test_result_that_is_no_json_is_a_marshal_error(make_function: Make, invoke: Invoke) -> None:
    """Handler in Python, "Returning a value": what json cannot serialise makes the runtime return an error."""
    payload, _ = invoke(make_function("def handler(event, context): return {1, 2}"))
    assert payload["errorType"] == "Runtime.MarshalError"


def test_response_over_six_megabytes_is_refused(make_function: Make, invoke: Invoke) -> None:
    """Lambda quotas: 6 MB for a synchronous response."""
    payload, mark = invoke(make_function("def handler(event, context): return 'x' * 7_000_000"))
    assert (payload["errorType"], mark) == ("Function.ResponseSizeTooLarge", "Unhandled")


def test_context_carries_what_the_page_lists(aws: LocalAws, make_function: Make, invoke: Invoke) -> None:
    """Using the Lambda context object: its methods and properties."""
    name = make_function("""
        def handler(event, context):
            return {
                "left": context.get_remaining_time_in_millis(),
                **{key: getattr(context, key) for key in event["keys"]},
            }
    """)
    keys = ["function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "aws_request_id",
            "log_group_name", "log_stream_name", "client_context"]  # fmt: skip
    payload, _ = invoke(name, {"keys": keys})
    assert payload["function_name"] == name
    assert payload["invoked_function_arn"].endswith(f":{aws.account}:function:{name}")
    assert (payload["memory_limit_in_mb"], payload["function_version"]) == ("128", "$LATEST")
    assert payload["log_group_name"] == f"/aws/lambda/{name}"
    assert 15_000 < payload["left"] <= 20_000


def test_environment_variables_are_the_documented_ones(make_function: Make, invoke: Invoke) -> None:
    """Defined runtime environment variables, the function's own, and nothing of the process that started the server."""
    source = "import os\ndef handler(event, context): return dict(os.environ)"
    payload, _ = invoke(make_function(source, Environment={"Variables": {"MODE": "batch"}}))
    assert payload["MODE"] == "batch"
    assert payload["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert payload["_HANDLER"] == "app.handler"
    assert payload["TZ"] == ":UTC"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"} <= set(payload)
    assert payload["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    allowed = {"HOME", "PATH", "LANG", "PWD", "TZ", "TMPDIR", "LC_CTYPE", "MODE", "PYTHONPATH"}
    foreign = {key for key in payload if not key.startswith(("AWS_", "LAMBDA_", "_"))} - allowed
    assert not foreign
    assert set(os.environ) - set(payload), "the test's own environment holds more than the function's"


def test_function_runs_under_its_own_role(aws: LocalAws, make_function: Make, invoke: Invoke) -> None:
    """Lambda execution role: the credentials in the environment are a session of the role."""
    source = "import boto3\ndef handler(event, context): return boto3.client('sts').get_caller_identity()['Arn']"
    name = make_function(source)
    role = aws.client("lambda").get_function_configuration(FunctionName=name)["Role"].rsplit("/", 1)[-1]
    payload, _ = invoke(name)
    assert payload == f"arn:aws:sts::{aws.account}:assumed-role/{role}/{name}"


def test_packages_of_the_server_are_not_importable(make_function: Make, invoke: Invoke) -> None:
    """Working with .zip archives: a runtime brings the SDK; any other dependency must come with the function."""
    name = make_function("""
        import importlib.util
        def handler(event, context):
            return [module for module in event if importlib.util.find_spec(module)]
    """)
    payload, _ = invoke(name, ["boto3", "botocore", "ministack", "moto", "pytest", "tests", "aws_lambda_powertools"])
    assert payload == ["boto3", "botocore"]


def test_layers_are_importable_and_the_function_comes_first(
    aws: LocalAws, make_function: Make, invoke: Invoke, unique: str
) -> None:
    """Working with layers for Python: `python/` is on the path; a later layer's files win, the function's own first."""
    layers = [
        aws.client("lambda").publish_layer_version(
            LayerName=f"{unique}-{name}",
            Content={"ZipFile": zipped({f"python/{module}.py": f"value = '{name}'" for module in ("layer", "both")})},
        )["LayerVersionArn"]
        for name in ("first", "second")
    ]
    code = zipped({
        "app.py": "import both, layer\ndef handler(event, context): return [layer.value, both.value]",
        "both.py": "value = 'function'",
    })  # fmt: skip
    assert invoke(make_function("", Code={"ZipFile": code}, Layers=layers)) == (["second", "function"], None)


def test_changed_configuration_reaches_the_next_call(aws: LocalAws, make_function: Make, invoke: Invoke) -> None:
    """UpdateFunctionConfiguration: the next invocation runs with the new variables."""
    name = make_function("import os\ndef handler(event, context): return os.environ.get('LEVEL')")
    assert invoke(name) == (None, None)
    aws.client("lambda").update_function_configuration(FunctionName=name, Environment={"Variables": {"LEVEL": "7"}})
    assert invoke(name) == ("7", None)


def test_printed_lines_are_logged_in_the_environments_stream(
    aws: LocalAws, make_function: Make, invoke: Invoke
) -> None:
    """Lambda logs: START, what the function wrote, END and REPORT, in one stream per execution environment."""
    name = make_function("""
        import logging
        def handler(event, context):
            print("hello")
            logging.getLogger().warning("careful")
            return context.log_stream_name
    """)
    stream, _ = invoke(name)
    assert invoke(name) == (stream, None)
    messages = _messages(aws, name)
    assert [message.split()[0] for message in messages] == ["START", "hello", "[WARNING]", "END", "REPORT"] * 2
    assert messages[2].rstrip().endswith("careful")
    assert "Max Memory Used" in messages[4]


def test_log_tail_holds_the_calls_last_line(aws: LocalAws, make_function: Make) -> None:
    """Invoke, LogType=Tail: the last 4 KB of the log of this very call."""
    name = make_function("def handler(event, context):\n    for n in range(200): print('line', n)")
    answer = aws.client("lambda").invoke(FunctionName=name, LogType="Tail")
    assert base64.b64decode(answer["LogResult"]).decode().rstrip().endswith("line 199")


def test_log_of_a_call_is_read_up_to_its_mark() -> None:
    """A call's log is complete however late its last line arrives, and the next call's lines are not in it."""
    from local_aws import lambda_workers

    source, sink = os.pipe()
    logs = lambda_workers._Logs(source)
    os.write(sink, b"early ")
    rest = b"late" + lambda_bootstrap.END_OF_LOG + b"request-1\nnext" + lambda_bootstrap.END_OF_LOG + b"request-2\n"
    threading.Timer(0.2, os.write, (sink, rest)).start()
    assert logs.until_mark("request-1", seconds=30) == "early late"
    assert logs.until_mark("request-2", seconds=30) == "next"
    os.close(sink)


def test_role_without_log_permissions_runs_without_logs(
    aws: LocalAws, make_function: Make, make_role: Make, invoke: Invoke
) -> None:
    """Sending function logs to CloudWatch Logs: without logs:PutLogEvents the function runs and nothing is stored."""
    name = make_function("def handler(event, context): return 'ran'", Role=make_role())
    assert invoke(name) == ("ran", None)
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert groups == []


def test_concurrent_calls_have_environments_of_their_own(make_function: Make, make_role: Make, invoke: Invoke) -> None:
    """Lambda concurrency: an environment serves one request at a time; a call to itself needs a second one."""
    source = """
        import boto3, json
        def handler(event, context):
            if event.get("inner"):
                return "inner"
            answer = boto3.client("lambda").invoke(FunctionName=context.function_name, Payload=b'{"inner": true}')
            return json.load(answer["Payload"])
    """
    name = make_function(source, Role=make_role({"lambda:InvokeFunction": "*"}), MemorySize=256)
    assert invoke(name) == ("inner", None)


def test_peak_memory_is_of_this_process_alone() -> None:
    """The REPORT line's Max Memory Used: a value that a large parent does not raise."""
    assert 1 << 20 < lambda_bootstrap.peak_memory() < 1 << 33


def _messages(aws: LocalAws, function: str) -> list[str]:
    group = f"/aws/lambda/{function}"
    logs = aws.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
    return [event["message"] for event in events["events"]]
