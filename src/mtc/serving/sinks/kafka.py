"""Events as messages of a Kafka topic, through confluent-kafka (the extra ``kafka``)."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mtc.errors import UsageError
from mtc.extras import need
from mtc.serving.sinks.base import SinkDown

TIMEOUT_S = 10.0


class KafkaSink:
    """Produces to ``kafka://BROKER[:PORT][,BROKER...]/TOPIC[?SETTING=VALUE...]``.

    The events of a flow go to one partition (their key is the flow's community id), and so stay in
    their order. A batch has arrived when every message has been acknowledged by all replicas in sync.
    """

    def __init__(self, url: str) -> None:
        """Prepare a producer; it connects by itself.

        Args:
            url: As above; settings are librdkafka's (``security.protocol=SSL``).

        Raises:
            UsageError: The URL is incomplete, a setting is wrong, or the library is not installed.
        """
        kafka = need("confluent_kafka")
        parts = urlsplit(url)
        self._topic = parts.path.strip("/")
        brokers = parts.netloc.rpartition("@")[2]
        if not brokers or not self._topic:
            raise UsageError(f"--sink {url}: kafka://BROKER:PORT/TOPIC is needed")
        settings: dict[str, Any] = {
            "bootstrap.servers": brokers,
            "client.id": "mtc-watch",
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 20,
            "message.timeout.ms": int(TIMEOUT_S * 800),
            "log_level": 0,
            **dict(parse_qsl(parts.query)),
        }
        try:
            self._producer = kafka.Producer(settings)
        except kafka.KafkaException as error:
            raise UsageError(f"--sink {url}: {error.args[0].str()}") from None
        self._failures: list[str] = []
        self._arrived = 0

    def send(self, lines: Sequence[str]) -> None:
        """See ``Sink``."""
        self._failures, self._arrived = [], 0
        for line in lines:
            try:
                self._producer.produce(
                    self._topic, line.encode(), key=_key(line), on_delivery=self._delivered
                )
            except BufferError:
                self._failures.append("the client's own queue is full")
                break
            self._producer.poll(0)
        self._producer.flush(TIMEOUT_S)
        if self._arrived < len(lines):
            # What is still on its way would come again with the next attempt anyway.
            self._producer.purge()
            self._producer.flush(1.0)
            raise SinkDown(self._failures[0] if self._failures else "no acknowledgement")

    def close(self) -> None:
        """See ``Sink``."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self._arrived += 1
        else:
            self._failures.append(error.str())


def _key(line: str) -> bytes | None:
    _, found, rest = line.partition('"community_id":"')
    return rest.partition('"')[0].encode() if found else None
