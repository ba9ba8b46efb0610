"""The templated task message is the one Celery would send, and Celery's own consumer reads it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from kombu import Connection

from relay_store.accumulation_task import ACCUMULATE_TASK
from relay_store.connection import Store
from relayer_web.task_sender import CelerySender, TemplateSender, celery_app, task_sender

SUPPLIER = "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj"
QUEUE = f"supplier.{SUPPLIER}"
PREFIX = "pm-celery:"


def url_of(store: Store) -> str:
    host, port = store.url.hosts[0]
    return f"redis://{host}:{port}/0"


def messages(store: Store) -> list[dict[str, Any]]:
    return [json.loads(text) for text in store.client.lrange(PREFIX + QUEUE, 0, -1)]


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    headers = {k: v for k, v in message["headers"].items() if k not in ("id", "root_id")}
    properties = {
        k: v
        for k, v in message["properties"].items()
        if k not in ("correlation_id", "delivery_tag", "reply_to")
    }
    body = json.loads(base64.b64decode(message["body"]))
    return message | {"headers": headers, "properties": properties, "body": body}


def test_a_templated_message_is_celery_s_own_but_for_its_ids(store: Store) -> None:
    CelerySender(celery_app(url_of(store), PREFIX)).send(SUPPLIER)
    sender = task_sender(url_of(store), PREFIX)
    assert isinstance(sender, TemplateSender)
    sender.send(SUPPLIER)
    sender.send(SUPPLIER)
    second, first, celery_s = messages(store)
    assert without_ids(first) == without_ids(second) == without_ids(celery_s)
    ids = [message["headers"]["id"] for message in (first, second, celery_s)]
    tags = [message["properties"]["delivery_tag"] for message in (first, second, celery_s)]
    assert len(set(ids)) == len(set(tags)) == 3
    assert first["headers"]["root_id"] == first["properties"]["correlation_id"] == ids[0]
    assert first["headers"]["task"] == ACCUMULATE_TASK


def test_kombu_reads_it(store: Store) -> None:
    task_sender(url_of(store), PREFIX).send(SUPPLIER)
    with Connection(url_of(store), transport_options={"global_keyprefix": PREFIX}) as connection:
        queue = connection.SimpleQueue(QUEUE)
        message = queue.get(timeout=5)
        args, kwargs, _ = message.payload
        message.ack()
        queue.close()
    assert (args, kwargs) == ([SUPPLIER], {})


@pytest.mark.parametrize("url", ["sentinel://127.0.0.1:26379/", "redis-sentinel://127.0.0.1:26379/mymaster"])
def test_other_brokers_go_through_celery(url: str) -> None:
    assert isinstance(task_sender(url, PREFIX), CelerySender)


def test_a_broker_that_is_away_is_said_so() -> None:
    with pytest.raises(Exception, match=r"refused|Error"):
        task_sender("redis://127.0.0.1:1/0", PREFIX).send(SUPPLIER)
