"""The templated task message is the one Celery would send, and Celery's own consumer reads it."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from operations.broker import Broker, broker_of
from operations.sections import RedisSection, SharedExtensions
from relay_store.accumulation_task import ACCUMULATE_TASK
from relay_store.connection import Store
from relayer_web.publisher import TaskSender
from relayer_web.task_sender import CelerySender, TemplateSender, celery_app, task_sender
from tests.tls import make_certificates, tls_ending

SUPPLIER = "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj"
QUEUE = f"supplier.{SUPPLIER}"
PREFIX = "pm-celery:"


def broker_at(url: str) -> Broker:
    return broker_of(RedisSection(), SharedExtensions(broker_url=url, broker_prefix=PREFIX))


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
    CelerySender(celery_app(broker_at(url_of(store)))).send(SUPPLIER)
    sender = task_sender(broker_at(url_of(store)))
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
    task_sender(broker_at(url_of(store))).send(SUPPLIER)
    with Connection(url_of(store), transport_options={"global_keyprefix": PREFIX}) as connection:
        queue = connection.SimpleQueue(QUEUE)
        message = queue.get(timeout=5)
        args, kwargs, _ = message.payload
        message.ack()
        queue.close()
    assert (args, kwargs) == ([SUPPLIER], {})


def test_a_broker_behind_sentinels_is_reached_as_the_workers_reach_it() -> None:
    sender = task_sender(broker_at("redis-sentinel://:word@127.0.0.1,127.0.0.2:5000/mymaster?db=3"))
    assert isinstance(sender, CelerySender)
    conf = sender._app.conf
    assert (conf.broker_write_url or conf.broker_url) == (
        "sentinel://:word@127.0.0.1:26379/3;sentinel://:word@127.0.0.2:5000/3"
    )
    assert conf.broker_transport_options["master_name"] == "mymaster"
    assert conf.broker_transport_options["global_keyprefix"] == PREFIX


def test_a_broker_behind_a_unix_socket_is_a_plain_redis() -> None:
    assert isinstance(task_sender(broker_at("unix:///run/redis.sock?db=1")), TemplateSender)


SPECIAL = "p@ss:w/rd?#[%]é"


def taken_from(broker: Broker) -> Any:
    """Take the task as a worker does."""
    with celery_app(broker).connection_for_write() as connection:
        queue = connection.SimpleQueue(QUEUE)
        message = queue.get(timeout=5)
        message.ack()
        queue.close()
    return message.payload[0]


@pytest.mark.parametrize("through", [task_sender, lambda broker: CelerySender(celery_app(broker))])
def test_a_broker_over_tls(store: Store, tmp_path: Path, through: Callable[[Broker], TaskSender]) -> None:
    certificates = make_certificates(tmp_path)
    with tls_ending(certificates, store.url.hosts[0][1]) as port:
        broker = broker_at(f"rediss://127.0.0.1:{port}/0?{certificates.own}")
        through(broker).send(SUPPLIER)
        assert taken_from(broker) == [SUPPLIER]


def test_a_broker_that_cannot_prove_its_name_is_refused(store: Store, tmp_path: Path) -> None:
    with tls_ending(make_certificates(tmp_path), store.url.hosts[0][1]) as port:
        unknown = broker_at(f"rediss://127.0.0.1:{port}/0")  # kombu by itself would believe anybody
        with pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
            task_sender(unknown).send(SUPPLIER)
        with pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
            celery_app(unknown).connection_for_write().channel()


def test_sentinels_over_tls_are_verified_like_the_broker_behind_them() -> None:
    broker = broker_at("rediss-sentinel://:word@a,b:5000/main?db=3&ssl_ca_certs=/ca.pem&sentinel_password=x")
    tls = "ssl_cert_reqs=required&ssl_ca_certs=%2Fca.pem"
    assert broker.url == f"sentinel://:word@a:26379/3?{tls};sentinel://:word@b:5000/3?{tls}"
    expected = {"password": "x", "ssl": True, "ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}
    assert broker.options["sentinel_kwargs"] == {**expected, "ssl_check_hostname": True}
    channel = celery_app(broker).connection_for_write()
    assert channel.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize("through", [task_sender, lambda broker: CelerySender(celery_app(broker))])
def test_any_password_reaches_the_broker_and_shows_nowhere(
    store: Store, through: Callable[[Broker], TaskSender], caplog: pytest.LogCaptureFixture
) -> None:
    store.client.acl_setuser(
        "mi:ner", enabled=True, passwords=[f"+{SPECIAL}"], keys="*", channels="*", categories=["+@all"]
    )
    url = url_of(store).replace("//", f"//{quote('mi:ner', safe='')}:{quote(SPECIAL, safe='')}@")
    broker = broker_at(url)
    through(broker).send(SUPPLIER)
    assert taken_from(broker) == [SUPPLIER]
    store.client.acl_deluser("mi:ner")
    with pytest.raises((RedisError, OperationalError)) as refused:
        through(broker_at(url)).send(SUPPLIER)
    shown = [
        repr(broker),
        str(refused.value),
        caplog.text,
        celery_app(broker).connection_for_write().as_uri(),
    ]
    for text in shown:
        assert SPECIAL not in text and quote(SPECIAL, safe="") not in text


def test_a_broker_that_is_away_is_said_so() -> None:
    with pytest.raises(Exception, match=r"refused|Error"):
        task_sender(broker_at("redis://127.0.0.1:1/0")).send(SUPPLIER)
