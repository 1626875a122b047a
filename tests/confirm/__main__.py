"""Ask an account what documentation leaves open: `make confirm-on-aws ACCOUNT=123456789012`.

Dry unless YES=1: it then says what each question would make and cost. What it makes is named bulk-inference-confirm-…
and taken away at the end of each question, also after Ctrl-C. The last lines are a table for docs/unconfirmed.md.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence

import boto3
from botocore.config import Config

from tests.confirm.bench import PREFIX, Bench, Place
from tests.confirm.questions import QUESTIONS, Question


def chosen(names: Sequence[str]) -> list[Question]:
    """The named questions, or all that are cheap and quick. Raises SystemExit for a name that does not exist."""
    unknown = set(names) - {question.id for question in QUESTIONS}
    if unknown:
        known = ", ".join(question.id for question in QUESTIONS)
        raise SystemExit(f"No such question: {', '.join(sorted(unknown))}. There are: {known}.")
    return [question for question in QUESTIONS if question.id in names or (not names and not question.heavy)]


def plan(questions: Sequence[Question], account: str) -> str:
    """What asking would make and cost."""
    lines = [f"In account {account} this would ask {len(questions)} questions, one after the other:", ""]
    for question in questions:
        lines += [f"  {question.id:16} {question.text}", f"  {'':16} makes {question.makes}; costs {question.costs}"]
    named = [question.id for question in QUESTIONS if question not in questions]
    lines += ["", f"Everything is named {PREFIX}-… and taken away again. Batch jobs take from minutes to hours each."]
    if named:
        lines.append(f"Not among them, asked only by name (ONLY=…): {', '.join(named)}.")
    return "\n".join([*lines, "Nothing has been made. To ask: the same with YES=1."])


def ask(question: Question, place: Place, run: str) -> str:
    """The answer to one question; what went wrong is an answer, too."""
    try:
        with Bench(place, run) as bench:
            return question.answer(bench)
    except Exception as error:
        return f"could not be asked: {type(error).__name__}: {error}"


def table(answers: dict[str, str]) -> str:
    """Rows for docs/unconfirmed.md."""
    rows = [f"| `{name}` | {answer.replace('|', '/')} |" for name, answer in answers.items()]
    return "\n".join(["| Id | Seen |", "| --- | --- |", *rows])


def real(options: argparse.Namespace) -> Place:
    """The account of the shell's credentials. Raises SystemExit if it is another one than the one that was named."""
    session = boto3.session.Session()

    def client(service: str, credentials: dict[str, str] | None = None) -> object:
        keys = credentials or {}
        return session.client(  # type: ignore[call-overload]
            service,
            aws_access_key_id=keys.get("AccessKeyId"),
            aws_secret_access_key=keys.get("SecretAccessKey"),
            aws_session_token=keys.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 5, "mode": "standard"}),
        )

    identity = session.client("sts").get_caller_identity()
    if identity["Account"] != options.account:
        raise SystemExit(f"These credentials are of account {identity['Account']}, not of {options.account}.")
    return Place(
        client,
        options.account,
        str(session.region_name),
        identity["Arn"].split(":")[1],
        subnets=tuple(options.subnets),
        security_groups=tuple(options.security_groups),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make confirm-on-aws", description=__doc__)
    parser.add_argument(
        "--account", required=True, help="the account's 12 digits: a guard, compared with the credentials"
    )
    parser.add_argument("--yes", action="store_true", help="ask; without it nothing is made")
    parser.add_argument("--subnets", nargs="*", default=[], help="subnets for jobs in a VPC")
    parser.add_argument("--security-groups", nargs="*", default=[], help="security groups for jobs in a VPC")
    parser.add_argument("only", nargs="*", help="ids of questions; all that are cheap and quick if there is none")
    options = parser.parse_args(arguments)
    questions = chosen(options.only)
    if not options.yes:
        print(plan(questions, options.account))
        return 0
    place, answers = real(options), {}
    for question in questions:
        print(f"{question.id}: {question.text}", flush=True)
        answers[question.id] = ask(question, place, secrets.token_hex(3))
        print(f"  {answers[question.id]}", flush=True)
    print(f"\n{table(answers)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
