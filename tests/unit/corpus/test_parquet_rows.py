"""Parquet: row groups, types, nested columns."""

from datetime import datetime
from decimal import Decimal

import pyarrow
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds.corpus_world import COLUMNS, CUT_BYTES, assert_all_rendered, cut, parquet_bytes, rows


@settings(max_examples=40, deadline=None)
@given(COLUMNS, st.integers(1, 10), CUT_BYTES)
def test_parquet_whatever_the_cuts(texts: list[str], group_rows: int, cut_bytes: int) -> None:
    table = {"id": [f"r{n}" for n in range(len(texts))], "text": texts}
    body = parquet_bytes(table, row_group_size=group_rows)
    assert_all_rendered(cut({"a.parquet": body}, cut_bytes=cut_bytes), texts)


def test_parquet_types_as_texts_and_numbers() -> None:
    second = datetime(2026, 3, 4, 5, 6, 7)  # noqa: DTZ001 - a column may hold a local time
    table = pyarrow.table(
        {
            "int": pyarrow.array([2**62], pyarrow.int64()),
            "float": pyarrow.array([0.1]),
            "nan": pyarrow.array([float("nan")]),
            "null": pyarrow.array([None], pyarrow.string()),
            "bool": pyarrow.array([True]),
            "decimal": pyarrow.array([Decimal("12.30")]),
            "date": pyarrow.array([second.date()]),
            "time": pyarrow.array([second.time()]),
            "local": pyarrow.array([second], pyarrow.timestamp("ns")),
            "instant": pyarrow.array([second], pyarrow.timestamp("us", "Europe/Berlin")),
            "duration": pyarrow.array([90], pyarrow.duration("s")),
            "binary": pyarrow.array([b"\xff\0"]),
            "word": pyarrow.array(["x"]).dictionary_encode(),
            "struct": pyarrow.array([{"at": second, "tags": [{"k": Decimal("1.0")}, None]}]),
            "map": pyarrow.array([[("a", 1), ("b", None)]], pyarrow.map_(pyarrow.string(), pyarrow.int8())),
        }
    )
    (row,) = rows(parquet_bytes(table), "a.parquet")
    found = dict(row.fields or {})
    assert str(found.pop("nan")) == "nan"
    assert found == {
        "int": 2**62,
        "float": 0.1,
        "null": None,
        "bool": True,
        "decimal": "12.30",
        "date": "2026-03-04",
        "time": "05:06:07",
        "local": "2026-03-04T05:06:07",
        "instant": "2026-03-04T05:06:07Z",
        "duration": 90,
        "binary": "/wA=",
        "word": "x",
        "struct": {"at": "2026-03-04T05:06:07", "tags": [{"k": "1.0"}, None]},
        "map": {"a": 1, "b": None},
    }


def test_nested_columns_render_as_json() -> None:
    body = parquet_bytes({"id": [7], "text": [{"a": [1, 2], "b": "ü"}], "price": [1.5]})
    found = cut({"a.parquet": body}, template="{{text}} {{text.b}} {{price}}")
    assert found.texts == ['{"a":[1,2],"b":"ü"} ü 1.5']
    assert found.pointers[0]["recordId"] == "7"
