"""Messages that wait in an object until the queue has accepted them."""

from collections.abc import Mapping, Sequence
from typing import Any

from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.result_line import encode
from bulk_inference.land.lane_messages import deliver
from tests.worlds.inference_world import Stage


def none(part: str) -> list[Mapping[str, Any]]:
    raise AssertionError(part)


def test_messages_go_in_the_order_in_which_they_were_written_down() -> None:
    made = Stage()
    messages = [{"recordId": f"r{number}"} for number in range(2500)]
    made.output.objects[made.places.outbox("a")] = b"".join(map(encode, messages))
    assert deliver(["a"], made.unit_context, none)
    assert made.queue.messages == messages
    assert made.world.effects == ["send"] * 3


def test_a_queue_that_refuses_is_told_and_what_an_older_bundle_did_not_write_down_is_made_anew() -> None:
    made = Stage()

    def busy(messages: Sequence[Mapping[str, Any]]) -> None:
        raise ThrottledError("now")

    made.queue.send = busy  # type: ignore[method-assign]
    assert not deliver(["old"], made.unit_context, lambda part: [{"recordId": part}])
    del made.queue.send
    assert deliver(["old"], made.unit_context, lambda part: [{"recordId": part}])
    assert made.queue.messages == [{"recordId": "old"}]
