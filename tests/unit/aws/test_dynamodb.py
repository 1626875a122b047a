"""The tables, on moto; what moto does not know (a PartiQL INSERT on a taken key) by the answers that AWS documents."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from bulk_inference.aws.dynamodb import Ledger, RunsTable
from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.ports import ConditionalPut, Put, Update
from bulk_inference.ledger.claims import Claim, Insertion

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> "Iterator[DynamoDBClient]":
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        made = boto3.client("dynamodb", region_name="us-east-1")
        for name, keys in (("runs", ["pk", "sk"]), ("ledger", ["pk"])):
            made.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind}  # type: ignore[typeddict-item]
                    for key, kind in zip(keys, ["HASH", "RANGE"], strict=False)
                ],
            )
        yield made


@pytest.fixture
def runs(client: "DynamoDBClient") -> RunsTable:
    return RunsTable("runs", client)


@pytest.fixture
def ledger(client: "DynamoDBClient") -> Ledger:
    return Ledger("ledger", client)


ITEM = {
    "pk": "RUN#r",
    "sk": "CUT#00001",
    "n": 3,
    "ratio": 0.1,
    "none": None,
    "list": [1, {"a": "b"}],
    "yes": True,
    "empty": "",
}


def test_items_come_back_as_they_went(runs: RunsTable) -> None:
    runs.put(ITEM)
    found = runs.get("RUN#r", "CUT#00001")
    assert found == ITEM
    assert isinstance(found["n"], int)
    assert runs.get("RUN#r", "CUT#00002") is None


def test_put_new_keeps_what_is_there_and_tells_it(runs: RunsTable) -> None:
    assert runs.put_new(ITEM) is None
    assert runs.put_new({**ITEM, "n": 4}) == ITEM
    assert runs.get("RUN#r", "CUT#00001") == ITEM


def test_put_if_compares_one_attribute(runs: RunsTable) -> None:
    assert not runs.put_if(ITEM, "n", 3), "there is no item yet"
    assert runs.put_if(ITEM, "n", None)
    assert not runs.put_if(ITEM, "n", None), "now there is one"
    assert not runs.put_if({**ITEM, "n": 5}, "n", 4)
    assert runs.put_if({**ITEM, "n": 5}, "n", 3)
    assert runs.get("RUN#r", "CUT#00001") == {**ITEM, "n": 5}


def test_update_sets_values_and_keeps_defaults(runs: RunsTable) -> None:
    assert runs.update("a", "b", {"status": "x"}, defaults={"since": 1}) == {
        "pk": "a", "sk": "b", "status": "x", "since": 1,
    }  # fmt: skip
    assert runs.update("a", "b", {"status": "y"}, defaults={"since": 2})["since"] == 1


def test_delete_if_spares_what_has_changed(runs: RunsTable) -> None:
    runs.put({"pk": "a", "sk": "b", "token": "new"})
    assert not runs.delete_if("a", "b", "token", "old")
    assert runs.delete_if("a", "b", "token", "new")
    assert not runs.delete_if("a", "b", "token", "new")
    runs.put(ITEM)
    runs.delete("RUN#r", "CUT#00001")
    assert runs.get("RUN#r", "CUT#00001") is None


def test_query_goes_over_all_pages_in_key_order(runs: RunsTable) -> None:
    for number in range(30):
        runs.put({"pk": "RUN#r", "sk": f"UNIT#{number:02d}", "blob": "x" * 100_000})
    runs.put({"pk": "RUN#r", "sk": "META"})
    assert [item["sk"] for item in runs.query("RUN#r", "UNIT#")] == [f"UNIT#{n:02d}" for n in range(30)]
    assert sum(1 for _ in runs.query("RUN#r")) == 31


def claim(key: str, owner: str = "r/u", expires_at: int = 100, epoch: int = 7) -> Claim:
    return Claim(key, owner, "r", expires_at, epoch)


def test_claims_go_out_as_conditional_inserts_in_one_request(client: "DynamoDBClient") -> None:
    """A PartiQL INSERT fails on a taken key; moto does not know its parameters, so the request itself is checked."""
    statement = "INSERT INTO \"ledger\" VALUE {'pk': ?, 'owner': ?, 'run': ?, 'epoch': ?, 'expires_at': ?}"
    sent = [
        {"Statement": statement, "Parameters": [{"S": key}, {"S": "r/u"}, {"S": "r"}, {"N": "7"}, {"N": "100"}]}
        for key in "ab"
    ]
    with Stubber(client) as stub:
        stub.add_response("batch_execute_statement", {"Responses": [{"TableName": "ledger"}] * 2}, {"Statements": sent})
        assert Ledger("ledger", client).insert([claim("a"), claim("b")]) == [Insertion.WRITTEN] * 2


def test_claims_are_found_with_their_owners(ledger: Ledger) -> None:
    for number in range(3):
        ledger.take_over(claim(f"t/s#{number}"), now=1)
    assert ledger.find(["t/s#0", "t/s#2", "t/s#never"]) == {"t/s#0": claim("t/s#0"), "t/s#2": claim("t/s#2")}


def test_each_statement_has_its_own_outcome(client: "DynamoDBClient") -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html"""
    with Stubber(client) as stub:
        codes: list[dict[str, Any]] = [
            {"TableName": "ledger"},
            {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}},
            {"Error": {"Code": "ThrottlingError", "Message": "slow"}},
            {"Error": {"Code": "ProvisionedThroughputExceeded", "Message": "slow"}},
        ]
        stub.add_response("batch_execute_statement", {"Responses": codes})
        outcomes = Ledger("ledger", client).insert([claim(f"{n}") for n in range(4)])
    assert outcomes == [Insertion.WRITTEN, Insertion.EXISTS, Insertion.THROTTLED, Insertion.THROTTLED]


def test_a_statement_refused_for_another_reason_is_an_error_by_its_name(client: "DynamoDBClient") -> None:
    with Stubber(client) as stub:
        refusal = {"Error": {"Code": "AccessDenied", "Message": "not authorized: dynamodb:PartiQLInsert"}}
        stub.add_response("batch_execute_statement", {"Responses": [refusal]})
        with pytest.raises(ClientError, match="dynamodb:PartiQLInsert"):
            Ledger("ledger", client).insert([claim("a")])


def test_keys_that_a_lookup_leaves_out_are_asked_for_again(client: "DynamoDBClient") -> None:
    item = {"pk": {"S": "a"}, "owner": {"S": "o"}, "run": {"S": "r"}, "expires_at": {"N": "5"}}
    left = {"ledger": {"Keys": [{"pk": {"S": "a"}}]}}
    with Stubber(client) as stub:
        stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
        stub.add_response("batch_get_item", {"Responses": {"ledger": [item]}, "UnprocessedKeys": {}})
        assert Ledger("ledger", client).find(["a"]) == {"a": Claim("a", "o", "r", 5)}


def test_an_expired_claim_is_taken_over_and_a_living_one_is_not(ledger: Ledger) -> None:
    assert ledger.take_over(claim("a", expires_at=100), now=1), "the key is free"
    assert not ledger.take_over(claim("a", "r/2", 300), now=99)
    assert ledger.take_over(claim("a", "r/2", 300), now=100)
    assert ledger.find(["a"])["a"].owner == "r/2"


def test_an_abandoned_claim_is_taken_over_from_its_owner_alone(ledger: Ledger) -> None:
    ledger.take_over(claim("a", "dead/1", 300), now=1)
    seen = claim("a", "dead/1", 300)
    assert not ledger.take_over(claim("a", "r/2", 300), now=1, seen=claim("a", "another/1", 300))
    assert not ledger.take_over(claim("a", "r/2", 300), now=1, seen=replace(seen, epoch=6)), "claimed again since"
    assert ledger.take_over(claim("a", "r/2", 300), now=1, seen=seen)
    assert not ledger.take_over(claim("a", "r/3", 300), now=1, seen=seen), "r/2 was quicker"
    assert ledger.find(["a"])["a"].owner == "r/2"


def test_a_claim_of_an_older_bundle_has_no_epoch_and_is_read_all_the_same(
    ledger: Ledger, client: "DynamoDBClient"
) -> None:
    item = {"pk": {"S": "a"}, "owner": {"S": "r/1"}, "run": {"S": "r"}, "expires_at": {"N": "300"}}
    client.put_item(TableName="ledger", Item=item)
    (seen,) = ledger.find(["a"]).values()
    assert seen.epoch == 0
    assert ledger.take_over(claim("a", "r/1", 300), now=1, seen=seen)
    assert not ledger.give_back(seen)


def test_a_claim_is_given_back_by_its_owner_alone(ledger: Ledger) -> None:
    ledger.take_over(claim("a", "r/1"), now=1)
    assert not ledger.give_back(claim("a", "r/2"))
    assert not ledger.give_back(claim("a", "r/1", epoch=6))
    assert ledger.give_back(claim("a", "r/1"))
    assert not ledger.give_back(claim("a", "r/1"))
    assert ledger.find(["a"]) == {}


def test_overload_is_an_error_that_the_state_machine_retries(client: "DynamoDBClient") -> None:
    with Stubber(client) as stub:
        stub.add_client_error("get_item", "ThrottlingException")
        with pytest.raises(ThrottledError):
            RunsTable("runs", client).get("a", "b")
        stub.add_client_error("get_item", "AccessDeniedException")
        with pytest.raises(ClientError, match="AccessDenied"):
            RunsTable("runs", client).get("a", "b")


def test_slots_are_taken_one_by_one_until_there_is_none(runs: RunsTable) -> None:
    assert not runs.take("p", "s", below=2, stamp="a"), "nobody has counted yet"
    runs.put({"pk": "p", "sk": "s", "taken": 0, "stamp": "a"})
    assert [runs.take("p", "s", below=2, stamp="a") for _ in range(3)] == [True, True, False]
    assert not runs.take("p", "s", below=9, stamp="b"), "another count"
    assert (runs.get("p", "s") or {})["taken"] == 2


def test_every_read_is_strongly_consistent(client: "DynamoDBClient") -> None:
    """A worker that reads what was true before another one's commit acts on it."""
    with Stubber(client) as stub:
        key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
        stub.add_response("get_item", {}, {"TableName": "runs", "Key": key, "ConsistentRead": True})
        assert RunsTable("runs", client).get("a", "b") is None
        expected = {
            "TableName": "runs",
            "KeyConditionExpression": "#pk = :pk",
            "ExpressionAttributeNames": {"#pk": "pk"},
            "ExpressionAttributeValues": {":pk": {"S": "a"}},
            "ConsistentRead": True,
        }
        stub.add_response("query", {"Items": []}, expected)
        assert list(RunsTable("runs", client).query("a")) == []
        lookup = {"RequestItems": {"ledger": {"Keys": [{"pk": {"S": "a"}}], "ConsistentRead": True}}}
        stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": {}}, lookup)
        assert Ledger("ledger", client).find(["a"]) == {}


def test_what_has_expired_is_absent_although_it_is_still_there(client: "DynamoDBClient", runs: RunsTable) -> None:
    """TTL deletes up to days late: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html"""
    old = {**ITEM, "expires_at": 100}
    runs.put(old)
    assert runs.get("RUN#r", "CUT#00001") is None
    assert list(runs.query("RUN#r")) == []
    assert RunsTable("runs", client, lambda: 99).get("RUN#r", "CUT#00001") == old
    assert runs.put_new(ITEM) is None
    assert runs.put_new(ITEM) == ITEM
    runs.put(old)
    assert runs.put_if(ITEM, "n", None)
    runs.put(old)
    assert runs.write_all([ConditionalPut(ITEM, "n", None)])
    assert runs.get("RUN#r", "CUT#00001") == ITEM


def test_a_transaction_writes_all_or_nothing(runs: RunsTable) -> None:
    lease = {"pk": "LEASE#r/u", "sk": "LEASE", "epoch": 1}
    runs.put(lease)
    item = {"pk": "RUN#r", "sk": "UNIT#u", "n": 1}
    update = Update("RUN#r", "META", {"status": "succeeded"})
    assert runs.write_all([ConditionalPut({**lease, "until": 5}, "epoch", 1), Put(item), update])
    assert runs.get("RUN#r", "UNIT#u") == item
    assert (runs.get("RUN#r", "META") or {})["status"] == "succeeded"
    assert not runs.write_all([ConditionalPut(lease, "epoch", 2), Put({**item, "n": 2})])
    assert runs.get("RUN#r", "UNIT#u") == item


@pytest.mark.parametrize("code", ["TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"])
def test_a_transaction_that_meets_another_one_is_tried_again(client: "DynamoDBClient", code: str) -> None:
    """Taken for a condition that does not hold, a worker would give up a lease that it has."""
    with Stubber(client) as stub:
        stub.add_client_error(
            "transact_write_items",
            "TransactionCanceledException",
            modeled_fields={"CancellationReasons": [{"Code": code}, {"Code": "None"}]},
        )
        with pytest.raises(ThrottledError, match="cancelled"):
            RunsTable("runs", client).write_all([Put(ITEM)])
        stub.add_client_error("put_item", "TransactionConflictException")
        with pytest.raises(ThrottledError):
            RunsTable("runs", client).put_if(ITEM, "n", 1)
