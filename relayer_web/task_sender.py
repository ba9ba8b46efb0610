"""How a front end tells a worker that a supplier has relays: one Celery task by name (decisions B1).

The task lives in the workers; nothing of them is imported here. Sending through Celery costs about a
millisecond, mostly to build a message that differs from the one before in its ids alone. So Celery and kombu
build it once, into a queue in memory, and afterwards only what differs is put in. Brokers other than a plain
Redis, and a message that does not look as expected, are always sent through Celery.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any, Final

from celery import Celery
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from operations.broker import Broker
from relay_store.accumulation_task import ACCUMULATE_TASK, accumulation_queue
from relayer_web.publisher import TaskSender

TIMEOUT_S: Final = 1.0
_ID: Final = "00000000-0000-4000-8000-0000000000aa"
_TAG: Final = "00000000-0000-4000-8000-0000000000bb"
_BODY: Final = "Ym9keQ=="
_SUPPLIER: Final = "supplier-of-this-message"


def celery_app(broker: Broker) -> Celery:
    """A Celery application that only sends."""
    app = Celery("relayer", broker=broker.url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        task_ignore_result=True,
        broker_transport_options={
            **broker.options,
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
        },
    )
    return app


class CelerySender:
    """Sends through Celery, whatever the broker."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, supplier: str) -> None:
        _send_task(self._app, supplier)


def _send_task(app: Celery, supplier: str, **options: Any) -> None:
    app.send_task(
        ACCUMULATE_TASK,
        args=(supplier,),
        queue=accumulation_queue(supplier),
        retry=False,
        ignore_result=True,
        **options,
    )


class UnexpectedMessage(ValueError):
    """The installed Celery and kombu build a message this module does not know how to repeat."""


class TemplateSender:
    """Puts copies of one message, with their own ids, on the queues' Redis lists, as kombu's channel does."""

    def __init__(self, client: Redis, prefix: str) -> None:
        """Raises `UnexpectedMessage`."""
        self._client = client
        self._prefix = prefix
        self._text, self._embed = _template()

    def send(self, supplier: str) -> None:
        self._client.lpush(self._prefix + accumulation_queue(supplier), self.message(supplier))

    def message(self, supplier: str) -> str:
        """The message for `supplier`, with a new id."""
        body = base64.b64encode(json.dumps([[supplier], {}, self._embed]).encode()).decode()
        return (
            self._text.replace(_ID, str(uuid.uuid4()))
            .replace(_TAG, str(uuid.uuid4()))
            .replace(_BODY, body)
            .replace(_SUPPLIER, supplier)
        )


def _template() -> tuple[str, Any]:
    """The message as text with marks in the places that differ, and the constant third part of its body."""
    app = celery_app(Broker("memory://localhost//", {}))
    _send_task(app, _SUPPLIER, task_id=_ID)
    with app.connection_for_write() as connection:
        message = connection.default_channel._get(accumulation_queue(_SUPPLIER))
    try:
        args, kwargs, embed = json.loads(base64.b64decode(message["body"]))
        properties = message["properties"]
        if (args, kwargs, properties["body_encoding"]) != ([_SUPPLIER], {}, "base64"):
            raise UnexpectedMessage(f"body of {ACCUMULATE_TASK}")
        message["body"] = _BODY
        properties["delivery_tag"] = _TAG
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedMessage(str(error)) from error
    return json.dumps(message), embed


def task_sender(broker: Broker) -> TaskSender:
    """The cheapest sender that the broker allows."""
    if broker.redis_url:
        client = Redis.from_url(
            broker.redis_url,
            protocol=2,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            return TemplateSender(client, broker.prefix)
        except UnexpectedMessage:
            client.close()
    return CelerySender(celery_app(broker))
