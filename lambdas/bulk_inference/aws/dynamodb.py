"""Amazon DynamoDB: the runs table (a few thousand small items) and the ledger (one item per claimed record).

Overload that outlasts the SDK's own retries becomes ThrottledError, which the state machines retry. Everything else
that DynamoDB refuses propagates under its own name (AccessDeniedException names the action and the table).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.ports import ConditionalPut, Increment, Put, Remove, Write
from bulk_inference.core.runs_table import Item
from bulk_inference.ledger.claims import Claim, Insertion

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_OVERLOADED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ProvisionedThroughputExceeded",
        "ThrottlingException",
        "ThrottlingError",
        "RequestLimitExceeded",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionConflict",
        "TransactionConflictException",
    }
)
"""Errors of a request, and the codes of a single statement (BatchStatementError, member Code)."""

_LOOKUP_TRIES: Final = 8

_NEVER: Final = 1 << 62


@cache
def connect() -> "DynamoDBClient":
    """The process's client: made at the first call, kept for the next invocations."""
    return boto3.client(
        "dynamodb",
        config=Config(retries={"mode": "standard", "max_attempts": 8}, tcp_keepalive=True, max_pool_connections=50),
    )


class RunsTable:
    """Items of the runs table; runs_table.py names the keys. Every read is strongly consistent.

    DynamoDB deletes expired items up to days later
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html): here they are absent.
    """

    def __init__(self, name: str, client: "DynamoDBClient", now: Callable[[], float] = time.time) -> None:
        self.name = name
        self._client = client
        self._now = now

    def get(self, pk: str, sk: str) -> Item | None:
        with _explained(self.name):
            answer = self._client.get_item(TableName=self.name, Key=_encode({"pk": pk, "sk": sk}), ConsistentRead=True)
        item = _decode(answer["Item"]) if "Item" in answer else None
        return None if item is None or self._expired(item) else item

    def _expired(self, item: Item) -> bool:
        return int(item.get("expires_at") or _NEVER) <= self._now()

    def _absent(self) -> dict[str, Any]:
        """Condition of a write that wants no item there."""
        return {
            "ConditionExpression": "attribute_not_exists(pk) OR #expires <= :now",
            "ExpressionAttributeNames": {"#expires": "expires_at"},
            "ExpressionAttributeValues": _encode({":now": int(self._now())}),
        }

    def put(self, item: Item) -> None:
        """Writes the item whatever was there. Items hold `pk` and `sk`; None is stored as null."""
        with _explained(self.name):
            self._client.put_item(TableName=self.name, Item=_encode(item))

    def put_new(self, item: Item) -> Item | None:
        """Writes the item unless its key is taken; returns the item that was there, or None if it was written."""
        return self._put_if(item, self._absent())

    def put_if(self, item: Item, attribute: str, expected: str | int | None) -> bool:
        """Writes the item if `attribute` of the stored one equals `expected`; None expects that there is no item."""
        return self._put_if(item, self._condition(attribute, expected)) is None

    def update(self, pk: str, sk: str, values: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None) -> Item:
        """Sets `values`, and each of `defaults` the item lacks; returns the whole item, made new if there was none."""
        defaults = defaults or {}
        names = {f"#{n}": name for n, name in enumerate([*values, *defaults])}
        marks = {name: mark[1:] for mark, name in names.items()}
        assignments = [f"#{marks[name]} = :{marks[name]}" for name in values]
        assignments += [f"#{marks[name]} = if_not_exists(#{marks[name]}, :{marks[name]})" for name in defaults]
        with _explained(self.name):
            answer = self._client.update_item(
                TableName=self.name,
                Key=_encode({"pk": pk, "sk": sk}),
                UpdateExpression=f"SET {', '.join(assignments)}",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=_encode({f":{marks[k]}": v for k, v in {**values, **defaults}.items()}),
                ReturnValues="ALL_NEW",
            )
        return _decode(answer["Attributes"])

    def delete(self, pk: str, sk: str) -> None:
        with _explained(self.name):
            self._client.delete_item(TableName=self.name, Key=_encode({"pk": pk, "sk": sk}))

    def delete_if(self, pk: str, sk: str, attribute: str, expected: str | int) -> bool:
        """Deletes the item if `attribute` equals `expected`; False if it does not, or there is no item."""
        try:
            with _explained(self.name):
                self._client.delete_item(
                    TableName=self.name,
                    Key=_encode({"pk": pk, "sk": sk}),
                    ConditionExpression="#attribute = :expected",
                    ExpressionAttributeNames={"#attribute": attribute},
                    ExpressionAttributeValues=_encode({":expected": expected}),
                )
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def take(self, pk: str, sk: str, *, below: int, stamp: str) -> bool:
        """Adds 1 to the item's `taken` if that is below a number and its `stamp` is the one given."""
        try:
            with _explained(self.name):
                self._client.update_item(
                    TableName=self.name,
                    Key=_encode({"pk": pk, "sk": sk}),
                    UpdateExpression="ADD #taken :one",
                    ConditionExpression="#stamp = :stamp AND #taken < :below",
                    ExpressionAttributeNames={"#taken": "taken", "#stamp": "stamp"},
                    ExpressionAttributeValues=_encode({":one": 1, ":below": below, ":stamp": stamp}),
                )
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def query(self, pk: str, sk_prefix: str = "") -> Iterator[Item]:
        """Items of one partition whose sort key starts with `sk_prefix`, in its order, page by page."""
        condition, names, values = "#pk = :pk", {"#pk": "pk"}, {":pk": pk}
        if sk_prefix:
            condition, names["#sk"], values[":sk"] = f"{condition} AND begins_with(#sk, :sk)", "sk", sk_prefix
        pages = self._client.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=_encode(values),
            ConsistentRead=True,
        )
        with _explained(self.name):
            for page in pages:
                for raw in page["Items"]:
                    if not self._expired(item := _decode(raw)):
                        yield item

    def put_all(self, puts: Sequence[ConditionalPut]) -> bool:
        """Writes all items or none; False if a condition does not hold."""
        return self.write_all(puts)

    def write_all(self, writes: Sequence[Write]) -> bool:
        """Writes all or nothing; False if a condition does not hold. The SDK gives each call a token of its own, so
        that its second try after an answer that was lost is the first one again.

        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
        """
        try:
            with _explained(self.name):
                self._client.transact_write_items(TransactItems=[self._part(one) for one in writes])
        except ClientError as error:
            if _code(error) != "TransactionCanceledException":
                raise
            response: Mapping[str, Any] = error.response
            codes = {reason.get("Code") for reason in response.get("CancellationReasons", [])}
            if "ConditionalCheckFailed" in codes:
                return False
            if codes & _OVERLOADED:
                raise ThrottledError(f"DynamoDB cancelled a transaction on {self.name} for now: {error}") from error
            raise
        return True

    def _part(self, write: Write) -> Any:
        if isinstance(write, ConditionalPut):
            condition = self._condition(write.attribute, write.expected)
            return {"Put": {"TableName": self.name, "Item": _encode(write.item), **condition}}
        if isinstance(write, Put):
            return {"Put": {"TableName": self.name, "Item": _encode(write.item)}}
        where = {"TableName": self.name, "Key": _encode({"pk": write.pk, "sk": write.sk})}
        if isinstance(write, Remove):
            return {"Delete": where}
        numbers = write.numbers if isinstance(write, Increment) else {}
        return {"Update": {**where, **_changes(numbers, write.values)}}

    def _condition(self, attribute: str, expected: str | int | None) -> dict[str, Any]:
        if expected is None:
            return self._absent()
        return {
            "ConditionExpression": "#attribute = :expected",
            "ExpressionAttributeNames": {"#attribute": attribute},
            "ExpressionAttributeValues": _encode({":expected": expected}),
        }

    def add(self, pk: str, sk: str, numbers: Mapping[str, int], values: Mapping[str, Any]) -> None:
        """Adds to counters of an item, made new if there was none, and sets `values`. Not safe to repeat."""
        with _explained(self.name):
            self._client.update_item(
                TableName=self.name, Key=_encode({"pk": pk, "sk": sk}), **_changes(numbers, values)
            )

    def _put_if(self, item: Item, condition: Mapping[str, Any]) -> Item | None:
        try:
            with _explained(self.name):
                self._client.put_item(
                    TableName=self.name,
                    Item=_encode(item),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **condition,
                )
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                # The old item is a member of the modelled error beside Error, absent when there was none.
                response: Mapping[str, Any] = error.response
                return _decode(response.get("Item", {}))
            raise
        return None


def _changes(numbers: Mapping[str, int], values: Mapping[str, Any]) -> dict[str, Any]:
    """Expression of an update that adds to numbers and sets values; one of the two may be empty."""
    names = {f"#{n}": name for n, name in enumerate([*numbers, *values])}
    marks = {name: mark[1:] for mark, name in names.items()}
    adds = ", ".join(f"#{marks[name]} :{marks[name]}" for name in numbers)
    sets = ", ".join(f"#{marks[name]} = :{marks[name]}" for name in values)
    return {
        "UpdateExpression": " ".join([*([f"ADD {adds}"] if adds else []), *([f"SET {sets}"] if sets else [])]),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": _encode({f":{marks[k]}": v for k, v in {**numbers, **values}.items()}),
    }


class Ledger:
    """Claims of records (claims.ClaimStore). Key `pk`, attributes owner, run, epoch, expires_at."""

    def __init__(self, name: str, client: "DynamoDBClient") -> None:
        self.name = name
        self._client = client

    def insert(self, claims: Sequence[Claim]) -> list[Insertion]:
        """Conditional inserts, at most 25, in one request: a PartiQL INSERT fails with DuplicateItem on a taken key.

        Statements succeed or fail each for itself
        (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html).
        """
        statement = f"INSERT INTO \"{self.name}\" VALUE {{'pk': ?, 'owner': ?, 'run': ?, 'epoch': ?, 'expires_at': ?}}"
        with _explained(self.name):
            answer = self._client.batch_execute_statement(
                Statements=[
                    {
                        "Statement": statement,
                        "Parameters": [
                            {"S": one.key},
                            {"S": one.owner},
                            {"S": one.run},
                            {"N": str(one.epoch)},
                            {"N": str(one.expires_at)},
                        ],
                    }
                    for one in claims
                ]
            )
        return [self._outcome(response.get("Error")) for response in answer["Responses"]]

    def find(self, keys: Sequence[str]) -> dict[str, Claim]:
        """The claims that exist, strongly consistent, at most 100 keys in one call."""
        found: dict[str, Claim] = {}
        waiting: Any = {self.name: {"Keys": [_encode({"pk": key}) for key in dict.fromkeys(keys)]}}
        waiting[self.name]["ConsistentRead"] = True
        for _ in range(_LOOKUP_TRIES):
            with _explained(self.name):
                answer = self._client.batch_get_item(RequestItems=waiting)
            for raw in answer["Responses"].get(self.name, []):
                item = _decode(raw)
                # A claim of an older bundle has no epoch: it is older than any.
                epoch = int(item.get("epoch", 0))
                found[item["pk"]] = Claim(item["pk"], item["owner"], item["run"], int(item["expires_at"]), epoch)
            waiting = answer.get("UnprocessedKeys")
            if not waiting:
                return found
        raise ThrottledError(f"DynamoDB left keys of a lookup in {self.name} unprocessed {_LOOKUP_TRIES} times")

    def take_over(self, claim: Claim, now: int, seen: Claim | None = None) -> bool:
        """Writes the claim if its key is free, or what is there has expired by `now` (epoch s), or is as `seen`."""
        condition, values = "attribute_not_exists(pk) OR expires_at <= :now", {":now": now}
        names: dict[str, Any] = {}
        if seen is not None:
            as_seen, named, more = _as_seen(seen)
            names = {"ExpressionAttributeNames": named}
            condition, values = f"{condition} OR ({as_seen})", {**values, **more}
        item = {
            "pk": claim.key,
            "owner": claim.owner,
            "run": claim.run,
            "epoch": claim.epoch,
            "expires_at": claim.expires_at,
        }
        try:
            with _explained(self.name):
                self._client.put_item(
                    TableName=self.name,
                    Item=_encode(item),
                    ConditionExpression=condition,
                    ExpressionAttributeValues=_encode(values),
                    **names,
                )
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def give_back(self, seen: Claim) -> bool:
        """Deletes the claim if it is as `seen`; False if it is not, or there is none."""
        condition, names, values = _as_seen(seen)
        try:
            with _explained(self.name):
                self._client.delete_item(
                    TableName=self.name,
                    Key=_encode({"pk": seen.key}),
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=_encode(values),
                )
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _outcome(self, error: Any) -> Insertion:
        if error is None:
            return Insertion.WRITTEN
        code = error.get("Code", "")
        if code == "DuplicateItem":
            return Insertion.EXISTS
        if code in _OVERLOADED:
            return Insertion.THROTTLED
        raise ClientError(
            {"Error": {"Code": code, "Message": f"claim in table {self.name}: {error.get('Message', '')}"}},
            "BatchExecuteStatement",
        )


def _as_seen(seen: Claim) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Condition, names and values that say: owner and epoch are still these."""
    epoch = "#epoch = :epoch" if seen.epoch else "attribute_not_exists(#epoch) OR #epoch = :epoch"
    names = {"#owner": "owner", "#epoch": "epoch"}
    return f"#owner = :owner AND ({epoch})", names, {":owner": seen.owner, ":epoch": seen.epoch}


@contextmanager
def _explained(table: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _code(error) in _OVERLOADED:
            raise ThrottledError(f"DynamoDB refused work on {table} for now: {error}") from error
        raise
    except (HTTPClientError, NoConnectionError) as error:
        raise ThrottledError(f"DynamoDB did not answer for {table}: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _encode(item: Mapping[str, Any]) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {key: serialize(_storable(value)) for key, value in item.items()}


def _decode(item: Mapping[str, Any]) -> Item:
    deserialize = TypeDeserializer().deserialize
    return {key: _plain(deserialize(value)) for key, value in item.items()}


def _storable(value: Any) -> Any:
    # boto3's serializer refuses floats, as a binary fraction is no decimal; str gives the shortest that reads back.
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, Mapping):
        return {key: _storable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(entry) for entry in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, set)):
        return [_plain(entry) for entry in value]
    return value
