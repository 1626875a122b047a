"""The command line: `bulkinfer COMMAND`. Thin over the client; boto3 is imported by the commands that need it.

Exit status: 0 ok; 1 error; 2 usage or invalid request; 3 ended and not succeeded; 4 succeeded with failures (--strict);
5 timeout; 6 permission; 130 detached: the run goes on.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulkinfer import __version__, errors
from bulkinfer.errors import BulkinferError, UsageError
from bulkinfer.output import FORMS, PROGRESS, Output

if TYPE_CHECKING:
    from bulkinfer.client import Client, Run

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run generative models over large corpora on AWS.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
doc = typer.Typer(no_args_is_help=True, help="Documents that arrive one by one.")
app.add_typer(doc, name="doc")


class State:
    """Options that every command has."""

    def __init__(self) -> None:
        self.output = Output()
        self.yes = False
        self.options: dict[str, Any] = {}

    @property
    def client(self) -> "Client":
        from bulkinfer.client import Client

        return Client(**self.options)


state = State()


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def common(
    deployment: Annotated[
        str | None, typer.Option(envvar="BULKINFER_DEPLOYMENT", help="Name of the deployment.")
    ] = None,
    outputs: Annotated[str | None, typer.Option(help="`terraform output -json` as a file, instead.")] = None,
    tenant: Annotated[str | None, typer.Option(envvar="BULKINFER_TENANT", help="Whose runs.")] = None,
    profile: Annotated[str | None, typer.Option(help="AWS profile.")] = None,
    region: Annotated[str | None, typer.Option(help="AWS Region.")] = None,
    form: Annotated[str, typer.Option("--output", "-o", help=f"One of {', '.join(FORMS)}.")] = "table",
    columns: Annotated[str | None, typer.Option(help="Columns to show, with commas between them.")] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text (NO_COLOR does the same).")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Data only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    progress: Annotated[str, typer.Option(help=f"One of {', '.join(PROGRESS)}.")] = "auto",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    for name, value, known in (("--output", form, FORMS), ("--progress", progress, PROGRESS)):
        if value not in known:
            raise UsageError(f"{name} {value}: must be one of {', '.join(known)}")
    color = not no_color and not os.environ.get("NO_COLOR")
    picked = [one.strip() for one in columns.split(",")] if columns else None
    state.output = Output(form, picked, color, quiet, progress)
    state.yes = yes
    state.options = {
        "deployment": deployment,
        "outputs": outputs,
        "tenant": tenant,
        "profile": profile,
        "region": region,
    }


# Starting.

Sources = Annotated[list[str] | None, typer.Argument(help="Files, folders or s3:// URIs.", show_default=False)]
RequestFile = Annotated[str | None, typer.Option("--request", "-r", help="Run request (JSON file) to begin with.")]
PromptText = Annotated[str | None, typer.Option(help="Template, such as 'Summarize: {{text}}', or @FILE.")]
System = Annotated[str | None, typer.Option(help="System prompt, or @FILE.")]
Model = Annotated[str | None, typer.Option(help="One of the deployment's models.")]
SchemaFile = Annotated[str | None, typer.Option("--schema", help="JSON Schema of the answers (file).")]
Name = Annotated[str | None, typer.Option("--id", help="The run's id; default: made of sources and request.")]
Mode = Annotated[str | None, typer.Option(help="auto, batch or sync.")]
Scope = Annotated[str | None, typer.Option(help="Namespace in which a record lands once.")]
Priority = Annotated[str | None, typer.Option(help="high, normal or low.")]
MaxTokens = Annotated[int | None, typer.Option(help="Most tokens of an answer.")]
Pattern = Annotated[str | None, typer.Option(help="Which files of a folder, such as '*.txt'.")]
IdField = Annotated[str | None, typer.Option(help="Field of a row that is its id.")]
Format = Annotated[str | None, typer.Option(help="jsonl, csv, parquet, text or auto.")]
RunId = Annotated[str, typer.Argument(help="The run's id.", show_default=False)]
Classes = Annotated[list[str] | None, typer.Option("--class", help="Only this class of error; may be repeated.")]


def _request(**given: Any) -> dict[str, Any]:
    from bulkinfer import request as requests

    base = requests.json_file(given.pop("request"), "--request")
    schema = requests.json_file(given.pop("schema"), "--schema")
    prompt = requests.text_or_file(given.pop("prompt"), "--prompt")
    system = requests.text_or_file(given.pop("system"), "--system")
    return requests.build(base, prompt=prompt, system=system, schema=schema, **given)


@app.command()
def run(
    sources: Sources = None,
    request: RequestFile = None,
    prompt: PromptText = None,
    system: System = None,
    model: Model = None,
    schema: SchemaFile = None,
    name: Name = None,
    mode: Mode = None,
    scope: Scope = None,
    priority: Priority = None,
    max_tokens: MaxTokens = None,
    pattern: Pattern = None,
    id_field: IdField = None,
    format: Format = None,  # noqa: A002
    max_cost: Annotated[float | None, typer.Option(help="Plan first; refuse if the estimate is above this.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Plan only.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "--watch", help="Wait for the end, showing progress.")] = False,
    strict: Annotated[bool, typer.Option(help="With --wait: failures of single records are exit status 4.")] = False,
) -> None:
    """Upload sources where they are local, and start a run over them. The same command again finds the same run."""
    client = state.client
    built = _request(
        request=request, prompt=prompt, system=system, model=model, schema=schema, mode=mode, scope=scope,
        priority=priority, max_tokens=max_tokens, id_field=id_field, format=format,
    )  # fmt: skip
    run_id, built = _prepared(client, sources, built, name, pattern)
    if dry_run or max_cost is not None:
        report = client.plan(run_id, built)
        if dry_run:
            _show_plan(report)
            return
        _refuse_dearer(report, max_cost)
    started = client.start(run_id, built)
    state.output.say(f"run {started.id} " + ("is there already: nothing was started" if started.known else "started"))
    if not wait:
        state.output.one({"run": started.id, "status": started.status().status})
        state.output.say(f"bulkinfer watch {started.id}")
        return
    _watch(started, strict=strict, timeout=None, interval=None)


def _prepared(
    client: "Client", sources: list[str] | None, built: dict[str, Any], name: str | None, pattern: str | None
) -> tuple[str, dict[str, Any]]:
    def show(done: int, total: int) -> None:
        if state.output.progress_form in ("bar", "lines") and (done == total or state.output.progress_form == "bar"):
            end = "\r" if state.output.progress_form == "bar" and done < total else "\n"
            print(f"uploaded {done / 1e6:,.1f} of {total / 1e6:,.1f} MB", end=end, file=sys.stderr, flush=True)

    return client.prepare(sources or [], built, name, pattern, show)


def _refuse_dearer(report: dict[str, Any], most: float | None) -> None:
    money = report.get("money")
    if money is None:
        raise UsageError(
            "--max-cost: no prices are known, so no cost can be told", "add prices to the request, or to model_settings"
        )
    if most is not None and money["estimate"] > most:
        raise UsageError(
            f"the run is estimated at {money['estimate']:.2f} {money['currency']}, above --max-cost {most:g}",
            "nothing was started",
        )


@app.command()
def plan(
    sources: Sources = None,
    request: RequestFile = None,
    prompt: PromptText = None,
    system: System = None,
    model: Model = None,
    schema: SchemaFile = None,
    name: Name = None,
    mode: Mode = None,
    scope: Scope = None,
    priority: Priority = None,
    max_tokens: MaxTokens = None,
    pattern: Pattern = None,
    id_field: IdField = None,
    format: Format = None,  # noqa: A002
) -> None:
    """What a run would be: mode and why, shards, the limit that decides, tokens, money. Nothing is inferred."""
    client = state.client
    built = _request(
        request=request, prompt=prompt, system=system, model=model, schema=schema, mode=mode, scope=scope,
        priority=priority, max_tokens=max_tokens, id_field=id_field, format=format,
    )  # fmt: skip
    run_id, built = _prepared(client, sources, built, name, pattern)
    _show_plan(client.plan(run_id, built))


def _show_plan(report: dict[str, Any]) -> None:
    if state.output.form != "table":
        state.output.one(report)
        return
    work, tokens, corpus = report["work"], report["tokens"], report["corpus"]
    shown = {
        "run": report["run"],
        "mode": f"{report['mode']['value']}: {report['mode']['why']}",
        "records": f"{'' if corpus['exact'] else 'about '}{corpus['records']:,} in {corpus['bytes']:,} bytes",
        "work": ", ".join(f"{number:,} {name}" for name, number in work.items() if number),
        "tokens": f"about {tokens['input']:,} in, {tokens['output']:,} out ({tokens['basis']})",
    }
    if "money" in report:
        shown["money"] = f"about {report['money']['estimate']:.2f} {report['money']['currency']}"
    for name, one in report["concurrency"].items():
        if one is not None:
            shown[f"{name} at once"] = f"{one['value']} ({one['limit']}: {one['why']})"
    for number, note in enumerate(report["notes"], 1):
        shown[f"note {number}"] = note
    state.output.one(shown)


# Looking.


@app.command()
def watch(
    run: RunId,
    timeout: Annotated[float | None, typer.Option(help="Seconds; exit status 5 if the run goes on then.")] = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between looks.")] = None,
    strict: Annotated[bool, typer.Option(help="Failures of single records are exit status 4.")] = False,
) -> None:
    """Show a run until it has ended; one that has not begun is waited for. Ctrl-C detaches: the run goes on."""
    _watch(state.client.attach(run), strict=strict, timeout=timeout, interval=interval, begun=False)


def _watch(found: "Run", *, strict: bool, timeout: float | None, interval: float | None, begun: bool = True) -> None:
    from bulkinfer.client import GOOD
    from bulkinfer.watching import as_json, outcome, watcher

    try:
        with watcher(state.output, found.id) as show:
            ended = found.wait(timeout=timeout, on_progress=show, interval=interval, check=False, begun=begun)
    except KeyboardInterrupt:
        print(f"detached: run {found.id} goes on; bulkinfer watch {found.id} shows it again", file=sys.stderr)
        raise typer.Exit(errors.DETACHED) from None
    state.output.one(outcome(ended) if state.output.form == "table" else as_json(ended))
    if ended.status not in GOOD:
        raise typer.Exit(errors.NOT_SUCCEEDED)
    if strict and ended.failed:
        raise typer.Exit(errors.WITH_FAILURES)


@app.command()
def runs(
    status: Annotated[str | None, typer.Option(help="Only runs of this status.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs begun since then, such as 12h or 7d.")] = None,
) -> None:
    """Runs, the newest first."""
    from bulkinfer.watching import as_json

    columns = ["run", "status", "startedAt", "endedAt"]
    found = ({name: as_json(one)[name] for name in columns} for one in state.client.runs(status, _span(since)))
    state.output.rows(found, columns)


def _span(text: str | None) -> Any:
    from datetime import timedelta

    if text is None:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    if not text[:-1].isdigit() or text[-1:] not in units:
        raise UsageError(f"--since {text}: must be a number and m, h, d or w, such as 12h")
    return timedelta(**{units[text[-1]]: int(text[:-1])})


@app.command()
def show(run: RunId) -> None:
    """What is known of one run."""
    from bulkinfer.client import UNKNOWN
    from bulkinfer.watching import as_json, outcome

    found = state.client.attach(run).status()
    if found.status == UNKNOWN:
        raise UsageError(f"there is no run {run}", "bulkinfer runs lists those that there are")
    state.output.one(outcome(found) if state.output.form == "table" else {**as_json(found), "manifest": found.manifest})


@app.command()
def results(
    run: RunId,
    folder: Annotated[
        Path | None, typer.Option("--dir", "-d", help="Download the result parts into this folder.")
    ] = None,
    in_order: Annotated[bool, typer.Option("--in-order", help="As the corpus has them.")] = False,
    with_failures: Annotated[bool, typer.Option("--with-failures", help="Records that failed, too.")] = False,
) -> None:
    """Results: rows on stdout (-o jsonl streams), or parts into a folder; a download that broke off goes on."""
    found = state.client.attach(run)
    if folder is not None:
        paths = found.download(str(folder), on_progress=None)
        state.output.say(f"{len(paths)} parts in {folder}")
        return
    rows = (row.to_dict() for row in found.results(in_order=in_order, with_failures=with_failures))
    state.output.rows(
        rows, ["id", "text", "value", "output_tokens"] + (["error_class", "error_message"] if with_failures else [])
    )


@app.command()
def failures(
    run: RunId,
    classes: Classes = None,
    by: Annotated[str | None, typer.Option(help="Counts by class or code instead of rows.")] = None,
    sample: Annotated[int | None, typer.Option(help="At most so many rows of each class.")] = None,
) -> None:
    """Records that have not landed, and why."""
    if by not in (None, "class", "code"):
        raise UsageError(f"--by {by}: must be class or code")
    found = state.client.attach(run)
    if by is not None:
        state.output.rows(
            ({by: name, "records": count} for name, count in found.failure_counts(by).items()), [by, "records"]
        )
        return
    shown: dict[str, int] = {}

    def rows() -> Any:
        for row in found.failures():
            name = row.error.error_class if row.error else ""
            if classes and name not in classes:
                continue
            shown[name] = shown.get(name, 0) + 1
            if sample is None or shown[name] <= sample:
                yield row.to_dict()

    state.output.rows(rows(), ["id", "error_class", "error_code", "error_message"])


@app.command()
def report(run: RunId, open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False) -> None:
    """Download report.html; prints its path."""
    from bulkinfer.aws import told

    client = state.client
    found = client.attach(run)
    path = Path(f"{run}-report.html")
    with told("s3:GetObject", f"downloading {found.places.report}"):
        client.aws.client("s3").download_file(client.deployment.output_bucket, found.places.report, str(path))
    state.output.one({"report": str(path)})
    if open_it:
        typer.launch(str(path))


# Acting.


def _sure(question: str) -> None:
    if state.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is nobody to ask", "pass --yes")
    typer.confirm(question, abort=True, err=True)


@app.command()
def retry(
    run: RunId,
    classes: Classes = None,
    prompt: PromptText = None,
    model: Model = None,
    mode: Mode = None,
) -> None:
    """A new run of what failed, with another prompt, model or mode."""
    from bulkinfer import request as requests

    answer = state.client.attach(run).retry(
        error_classes=classes, prompt=requests.text_or_file(prompt, "--prompt"), model=model, mode=mode
    )
    state.output.one(answer)


@app.command()
def redrive(run: RunId, classes: Classes = None) -> None:
    """Failed records through the failure lane once more, as they are."""
    state.output.one(state.client.attach(run).redrive(error_classes=classes))


@app.command()
def drop(
    run: RunId,
    reason: Annotated[str, typer.Option(help="Kept with each record.")],
    classes: Classes = None,
) -> None:
    """Give failed records up, with a reason."""
    _sure(f"Give up the failed records of {run}?")
    state.output.one(state.client.attach(run).drop(reason, error_classes=classes))


@app.command()
def stop(run: RunId, cause: Annotated[str, typer.Option(help="Kept with the run.")] = "stopped by bulkinfer") -> None:
    """Stop a run. What has landed stays; `bulkinfer resume` goes on."""
    _sure(f"Stop {run}?")
    state.client.attach(run).stop(cause)
    state.output.say(f"run {run} is stopping; bulkinfer resume {run} goes on with it")


@app.command()
def resume(run: RunId) -> None:
    """Go on with a run that failed, timed out or was stopped. Nothing that has landed is paid for again."""
    state.client.attach(run).resume()
    state.output.say(f"run {run} goes on; bulkinfer watch {run}")


@app.command()
def deployments() -> None:
    """Deployments in this Region."""
    from bulkinfer import deployment
    from bulkinfer.aws import Aws

    aws = Aws(state.options["profile"], state.options["region"])
    state.output.rows(({"deployment": name} for name in deployment.names(aws)), ["deployment"])


@app.command()
def doctor() -> None:
    """Whether you can do what this tool does, a line a check, each with what to do about it."""
    from bulkinfer.doctor import examine

    found = list(examine(state.client))
    state.output.rows((one.to_dict() for one in found), ["ok", "check", "told", "what to do"])
    if not all(one.ok for one in found):
        raise typer.Exit(errors.PERMISSION)


@doc.command("send")
def doc_send(
    document: Annotated[str, typer.Argument(help="A file, or a key of the input bucket.")],
    prompt: Annotated[str, typer.Option(help="Name of the stored prompt.")],
    name: Annotated[str | None, typer.Option("--id", help="The document's id; default: its key.")] = None,
    priority: Annotated[str, typer.Option(help="high, normal or low.")] = "normal",
    notify: Annotated[bool, typer.Option(help="An event when it has ended.")] = False,
) -> None:
    """Send one document."""
    sent = state.client.documents.send(document, prompt=prompt, id=name, priority=priority, notify=notify)
    state.output.one({"id": sent})


@doc.command("status")
def doc_status(
    document: Annotated[str, typer.Argument(help="The document's id.")],
    prompt: Annotated[str, typer.Option(help="Name of the stored prompt.")],
) -> None:
    """What has become of a document."""
    state.output.one(state.client.documents.status(document, prompt=prompt))


@doc.command("stats")
def doc_stats() -> None:
    """Numbers by priority."""
    state.output.one(state.client.documents.stats())


def main() -> None:
    """Runs a command; turns our errors into words and exit statuses."""
    try:
        app()
    except BulkinferError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"  → {error.hint}", file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
