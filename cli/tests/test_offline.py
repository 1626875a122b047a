"""What needs no AWS: requests and names out of options, rows, forms of output, words and statuses of errors."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bulkinfer import request as requests
from bulkinfer import transfer
from bulkinfer.client import Status, place_in_corpus
from bulkinfer.deployment import Deployment, from_outputs
from bulkinfer.errors import BulkinferError, UsageError
from bulkinfer.output import Output
from bulkinfer.rows import Row
from bulkinfer.watching import line

DEPLOYMENT: dict[str, Any] = {
    "version": 1,
    "name": "tickets",
    "buckets": {"input": "in", "output": "out"},
    "stateMachines": {"pipeline": "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-pipeline"},
    "tenants": {"default": {"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-pipeline"}},
}


def bulkinfer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bulkinfer.app", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_options_lie_over_the_request_file() -> None:
    base = {"model": {"id": "a"}, "prompt": {"template": "old", "inference": {"temperature": 0}}}
    built = requests.build(base, model="b", prompt="new", max_tokens=9, mode="sync", scope=None)
    assert built == {
        "model": {"id": "b"},
        "prompt": {"template": "new", "inference": {"temperature": 0, "maxTokens": 9}},
        "run": {"mode": "sync"},
    }
    assert base["prompt"] == {"template": "old", "inference": {"temperature": 0}}


def test_the_same_command_has_the_same_run_id_and_another_one_another() -> None:
    one = requests.run_id(None, "My Tickets (Nov)", {"a": 1})
    assert one == requests.run_id(None, "My Tickets (Nov)", {"a": 1})
    assert one.startswith("my-tickets-nov-")
    assert one != requests.run_id(None, "My Tickets (Nov)", {"a": 2})
    with pytest.raises(UsageError, match="--id a b"):
        requests.run_id("a b", "x", {})


def test_a_pydantic_class_is_its_schema() -> None:
    class Contract:
        @classmethod
        def model_json_schema(cls) -> dict[str, Any]:
            return {"type": "object"}

    assert requests.schema_of(Contract) == {"type": "object"}
    with pytest.raises(UsageError):
        requests.schema_of("object")


def test_hidden_files_and_folders_stay_here(tmp_path: Path) -> None:
    for name in ("a.txt", ".git/config", "_temporary/part", "sub/b.txt", "sub/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [one.name for one in transfer.local_files([str(tmp_path)])] == ["a.txt", "sub/b.txt"]
    with pytest.raises(UsageError, match=r"no file that matches \*\.csv"):
        transfer.local_files([str(tmp_path)], "*.csv")
    with pytest.raises(UsageError, match="is no file or folder"):
        transfer.local_files([str(tmp_path / "nothing")])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(name)
    with pytest.raises(UsageError, match=r"would both be uploaded as x\.txt"):
        transfer.local_files([str(tmp_path / "a"), str(tmp_path / "b")])


def test_rows_of_results_and_of_failures_are_of_one_kind() -> None:
    good = Row.from_line(b'{"recordId": "1", "text": "yes", "usage": {"inputTokens": 3, "outputTokens": 1}, "new": 1}')
    bad = Row.from_line(b'{"recordId": "2", "errorClass": "validation", "errorCode": "400", "errorMessage": "no"}')
    assert (good.text, good.error) == ("yes", None)
    assert bad.error is not None
    assert (bad.text, bad.error.error_class, bad.error.code) == (None, "validation", "400")
    assert good.to_dict().keys() == bad.to_dict().keys()


def test_rows_are_ordered_by_sequence_else_by_place() -> None:
    rows = [
        Row("c", source={"key": "b.jsonl", "offset": 5}),
        Row("b", source={"key": "a.jsonl", "offset": 100}),
        Row("a", source={"key": "a.jsonl", "offset": 20}),
        Row("z"),
    ]
    assert [row.id for row in sorted(rows, key=place_in_corpus)] == ["a", "b", "c", "z"]
    numbered = [Row("x", sequence=10), Row("y", sequence=9), Row("w", sequence="t")]
    assert [row.id for row in sorted(numbered, key=place_in_corpus)] == ["y", "x", "w"]


def test_a_deployment_of_a_newer_version_says_so() -> None:
    with pytest.raises(BulkinferError, match="newer than this tool"):
        Deployment.from_json({**DEPLOYMENT, "version": 2})


def test_outputs_are_found_whatever_the_output_is_called(tmp_path: Path) -> None:
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps({"other": {"value": 1}, "inference": {"value": DEPLOYMENT}}))
    assert from_outputs(path).pipeline_arn.endswith("tickets-pipeline")
    path.write_text("{}")
    with pytest.raises(UsageError, match="0 outputs that describe a deployment"):
        from_outputs(path)


def test_several_tenants_ask_for_one() -> None:
    machine = DEPLOYMENT["tenants"]["default"]
    found = Deployment.from_json({**DEPLOYMENT, "tenants": {"acme": machine, "globex": machine}})
    with pytest.raises(UsageError, match="several tenants: acme, globex"):
        found.tenant(None)
    with pytest.raises(UsageError, match="no tenant default"):
        found.tenant("default")
    assert found.tenant("acme").name == "acme"


def test_every_form_holds_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "1", "text": 'a,\n"b"', "value": {"x": [1]}},
        {"id": "2", "text": None, "value": None},
    ]
    Output("json").rows(rows)
    assert json.loads(capsys.readouterr().out) == rows
    Output("jsonl").rows(rows)
    assert [json.loads(one) for one in capsys.readouterr().out.splitlines()] == rows
    Output("csv", ["id", "text"]).rows(rows)
    assert capsys.readouterr().out == 'id,text\n1,"a,\n""b"""\n2,\n'
    Output("json").rows([])
    assert json.loads(capsys.readouterr().out) == []


def test_markup_in_answers_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table", color=False).rows([{"text": "[bold]not bold[/bold] [/]"}])
    assert "[bold]not bold[/bold] [/]" in capsys.readouterr().out


def test_a_line_of_progress_says_what_is_known_and_no_more() -> None:
    assert line(Status("r", "running")) == "running"
    counts = {"accepted": 1000, "landed": 250, "failed": 1}
    said = line(Status("r", "running", "inferring", counts), rate=25.0)
    assert said == "inferring · 250 of 1,000 landed · 1 failed · 25.0/s · about 30 s left"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nonsense"], 2, "No such command"),
        (["-o", "yaml", "runs"], 2, "--output yaml: must be one of table, json, jsonl, csv"),
        (["run", "--prompt", "@missing.txt", "x"], 2, "--prompt: missing.txt: No such file"),
        (["--outputs", "missing.json", "runs"], 2, "terraform output -json > outputs.json"),
        (["runs", "--since", "yesterday"], 2, "--since yesterday"),
        (["failures", "r", "--by", "colour"], 2, "--by colour"),
        (["drop", "r", "--reason", "old"], 2, "pass --yes"),
        (["--version"], 0, ""),
    ],
)
def test_mistakes_are_told_with_their_status(arguments: list[str], status: int, said: str) -> None:
    done = bulkinfer(*arguments, AWS_REGION="us-east-1")
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_without_credentials_it_says_so(tmp_path: Path) -> None:
    nowhere = {"AWS_CONFIG_FILE": str(tmp_path / "x"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "y")}
    done = bulkinfer("runs", AWS_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", **nowhere)
    assert done.returncode == 6
    assert "no AWS credentials" in done.stderr


def test_help_needs_no_boto3() -> None:
    code = "import sys, bulkinfer.app; sys.exit('boto3' in sys.modules or 'rich.progress' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False
    )
    assert done.returncode == 0
