"""Amazon DynamoDB in memory. An item that has expired stays until somebody deletes it: AWS takes up to days for that.

Transactions: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
PartiQL in batches: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.explorer.aws import conditions
from tests.explorer.aws.conditions import Attributes
from tests.explorer.aws.service import Pages, Service, error

_MOST_BYTES = 400_000
_ASKED = ("ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues")

_INSERT = re.compile(r"INSERT INTO \"(?P<table>[^\"]+)\" VALUE \{(?P<members>.*)\}", re.S)
_UPDATE = re.compile(r"UPDATE \"(?P<table>[^\"]+)\"\s+(?P<sets>(?:SET|REMOVE) .*?)\s+WHERE\s+(?P<where>.*)", re.S)
_DELETE = re.compile(r"DELETE FROM \"(?P<table>[^\"]+)\"\s+WHERE\s+(?P<where>.*)", re.S)


class Tables(Service):
    name = "dynamodb"
    busy = "ProvisionedThroughputExceededException"

    def __init__(self, keys: Mapping[str, Sequence[str]]) -> None:
        self.keys = keys
        """Names of the key's attributes, by table."""
        self.items: dict[str, dict[str, dict[str, Attributes]]] = {name: {} for name in keys}
        """By table, partition key and sort key. An item is never changed, but replaced."""

    def copy(self) -> "Tables":
        new = Tables(self.keys)
        new.items = {name: {pk: dict(items) for pk, items in table.items()} for name, table in self.items.items()}
        return new

    # Single items.

    def get_item(self, TableName: str, Key: Attributes, **_: Any) -> dict[str, Any]:
        self.read()
        found = self._find(TableName, Key)
        return {} if found is None else {"Item": found}

    def put_item(self, TableName: str, Item: Attributes, **asked: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            self._require(TableName, Item, asked, "PutItem")
            self._store(TableName, Item)
            return {}

        return self.write("PutItem", self._label(TableName, Item), apply)

    def delete_item(self, TableName: str, Key: Attributes, **asked: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            old = self._require(TableName, Key, asked, "DeleteItem")
            self._remove(TableName, Key)
            return {"Attributes": old} if old and asked.get("ReturnValues") == "ALL_OLD" else {}

        return self.write("DeleteItem", self._label(TableName, Key), apply)

    def update_item(self, TableName: str, Key: Attributes, UpdateExpression: str, **asked: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            old = self._require(TableName, Key, asked, "UpdateItem")
            new = self._updated(Key, old, UpdateExpression, asked)
            self._store(TableName, new)
            return {"Attributes": old or {} if asked.get("ReturnValues") == "ALL_OLD" else new}

        return self.write("UpdateItem", self._label(TableName, Key), apply)

    # Many items.

    def get_paginator(self, operation: str) -> Pages:
        pages: dict[str, Callable[..., dict[str, Any]]] = {"query": self.query, "scan": self.scan}
        return Pages(pages[operation])

    def query(
        self,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Mapping[str, Any],
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        FilterExpression: str | None = None,
        ScanIndexForward: bool = True,
        **_: Any,
    ) -> dict[str, Any]:
        self.read()
        names = ExpressionAttributeNames or {}
        asked = conditions.condition(KeyConditionExpression)
        wanted = conditions.condition(FilterExpression) if FilterExpression else None
        partitions = [self.items[TableName].get(one["S"]) for one in ExpressionAttributeValues.values() if "S" in one]
        found = [
            items[sk]
            for items in partitions
            if items
            for sk in sorted(items)
            if asked(items[sk], names, ExpressionAttributeValues)
            and (wanted is None or wanted(items[sk], names, ExpressionAttributeValues))
        ]
        return {"Items": found if ScanIndexForward else found[::-1]}

    def scan(self, TableName: str, **_: Any) -> dict[str, Any]:
        self.read()
        return {"Items": [item for items in self.items[TableName].values() for item in items.values()]}

    def batch_get_item(self, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        self.read()
        assert sum(len(one["Keys"]) for one in RequestItems.values()) <= 100, "at most 100 keys"
        found = {
            table: [item for key in one["Keys"] if (item := self._find(table, key)) is not None]
            for table, one in RequestItems.items()
        }
        return {"Responses": found, "UnprocessedKeys": {}}

    def batch_write_item(self, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            for table, requests in RequestItems.items():
                for one in requests:
                    if "PutRequest" in one:
                        self._store(table, one["PutRequest"]["Item"])
                    else:
                        self._remove(table, one["DeleteRequest"]["Key"])
            return {"UnprocessedItems": {}}

        return self.write("BatchWriteItem", ",".join(RequestItems), apply)

    def transact_write_items(
        self, TransactItems: Sequence[Mapping[str, Any]], ClientRequestToken: str | None = None
    ) -> dict[str, Any]:
        assert 0 < len(TransactItems) <= 100, "1 to 100 items"
        actions = [next(iter(one.items())) for one in TransactItems]
        keys = [(one["TableName"], json.dumps(self._key(one["TableName"], _key_of(one)))) for _, one in actions]
        if len(set(keys)) != len(keys):
            raise error("ValidationException", "TransactWriteItems", "multiple operations on one item")
        done: list[bool] = []

        def apply(part: bool) -> dict[str, Any]:
            if done:
                # The SDK sends a request's own token again: what has been done is answered alike.
                return {}
            reasons = [{"Code": "None" if self._holds(one) else "ConditionalCheckFailed"} for _, one in actions]
            if any(one["Code"] != "None" for one in reasons):
                message = "Transaction cancelled, please refer cancellation reasons for specific reasons"
                raise error("TransactionCanceledException", "TransactWriteItems", message, CancellationReasons=reasons)
            for action, one in actions:
                self._act(action, one)
            done.append(True)
            return {}

        what = ",".join(self._label(one["TableName"], _key_of(one)) for _, one in actions[:3])
        return self.write("TransactWriteItems", what, apply)

    def _act(self, action: str, one: Mapping[str, Any]) -> None:
        table = one["TableName"]
        if action == "Put":
            self._store(table, one["Item"])
        elif action == "Delete":
            self._remove(table, one["Key"])
        elif action == "Update":
            self._store(table, self._updated(one["Key"], self._find(table, one["Key"]), one["UpdateExpression"], one))
        else:
            assert action == "ConditionCheck", action

    def batch_execute_statement(self, Statements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        assert 0 < len(Statements) <= 25, "1 to 25 statements"

        def apply(part: bool) -> dict[str, Any]:
            most = (len(Statements) + 1) // 2 if part and len(Statements) > 1 else 0 if part else len(Statements)
            busy = {"Error": {"Code": "ThrottlingError", "Message": "Throughput exceeds the current capacity"}}
            return {"Responses": [self._execute(one) if n < most else busy for n, one in enumerate(Statements)]}

        return self.write("BatchExecuteStatement", f"{len(Statements)} statements", apply)

    def _execute(self, one: Mapping[str, Any]) -> dict[str, Any]:
        text, parameters = one["Statement"].strip(), list(one.get("Parameters", []))
        if match := _INSERT.fullmatch(text):
            names = re.findall(r"'([^']+)'\s*:\s*\?", match["members"])
            item = dict(zip(names, parameters, strict=True))
            if len(item[self.keys[match["table"]][0]]["S"].encode()) > 2048:
                return _refused("ValidationError", "Size of hashkey has exceeded the maximum size limit of2048 bytes")
            if self._find(match["table"], item) is not None:
                return _refused("DuplicateItem", "Duplicate primary key exists in table")
            self._store(match["table"], item)
            return {}
        match = _UPDATE.fullmatch(text) or _DELETE.fullmatch(text)
        assert match is not None, text
        return self._execute_where(match["table"], match.groupdict().get("sets"), match["where"], parameters)

    def _execute_where(
        self, table: str, sets: str | None, where: str, parameters: list[Mapping[str, Any]]
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}

        def named(text: str) -> str:
            def mark(_: Any) -> str:
                values[f":p{len(values)}"] = parameters.pop(0)
                return f":p{len(values) - 1}"

            return re.sub(r"\?", mark, text.replace('"', ""))

        change, condition = named(sets) if sets else None, named(where)
        assert not parameters, "as many parameters as marks"
        key = {}
        for name in self.keys[table]:
            found = re.search(rf"\b{name}\s*=\s*(:p\d+)", condition)
            assert found, f"WHERE names the whole key: {where}"
            key[name] = values[found[1]]
        old = self._find(table, key)
        if old is None or not conditions.condition(condition)(old, {}, values):
            return _refused("ConditionalCheckFailed", "The conditional request failed")
        if change is None:
            self._remove(table, key)
        else:
            self._store(table, self._updated(key, old, change, {"ExpressionAttributeValues": values}))
        return {}

    # Items.

    def _key(self, table: str, key: Attributes) -> tuple[str, str]:
        names = self.keys[table]
        for name in names:
            if name not in key or not key[name].get("S"):
                raise error("ValidationException", "Key", f"missing or empty key attribute {name}")
        if len(key[names[0]]["S"].encode()) > 2048:
            raise error(
                "ValidationException", "Key", "Size of hashkey has exceeded the maximum size limit of2048 bytes"
            )
        return key[names[0]]["S"], key[names[1]]["S"] if len(names) > 1 else ""

    def _find(self, table: str, key: Attributes) -> Attributes | None:
        pk, sk = self._key(table, key)
        return self.items[table].get(pk, {}).get(sk)

    def _store(self, table: str, item: Attributes) -> None:
        pk, sk = self._key(table, item)
        assert len(json.dumps(item, default=str)) < 2 * _MOST_BYTES, "an item holds 400 KB"
        self.items[table].setdefault(pk, {})[sk] = item

    def _remove(self, table: str, key: Attributes) -> None:
        pk, sk = self._key(table, key)
        self.items[table].get(pk, {}).pop(sk, None)

    def _updated(
        self, key: Attributes, old: Attributes | None, expression: str, asked: Mapping[str, Any]
    ) -> Attributes:
        old = old or {}
        new = {**old, **key}
        for change in conditions.update(expression):
            change(old, new, asked.get("ExpressionAttributeNames") or {}, asked.get("ExpressionAttributeValues") or {})
        return new

    def _holds(self, one: Mapping[str, Any]) -> bool:
        text = one.get("ConditionExpression")
        if not text:
            return True
        old = self._find(one["TableName"], _key_of(one)) or {}
        return conditions.condition(text)(
            old, one.get("ExpressionAttributeNames") or {}, one.get("ExpressionAttributeValues") or {}
        )

    def _require(self, table: str, key: Attributes, asked: Mapping[str, Any], operation: str) -> Attributes | None:
        """The old item, if the condition holds."""
        old = self._find(table, key)
        if self._holds({"TableName": table, "Key": key, **{name: asked[name] for name in _ASKED if name in asked}}):
            return old
        members: dict[str, Any] = {}
        if old and asked.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            members = {"Item": old}
        raise error("ConditionalCheckFailedException", operation, "The conditional request failed", **members)

    def _label(self, table: str, key: Attributes) -> str:
        return " ".join([table, *(key[name]["S"] for name in self.keys[table] if name in key)])


def _key_of(one: Mapping[str, Any]) -> Attributes:
    return one.get("Key") or one["Item"]  # type: ignore[no-any-return]


def _refused(code: str, message: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": message}}
