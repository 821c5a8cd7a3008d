"""The embedded broker: partitioned logs, transactions and groups in one SQLite file."""

from flows.brokers.embedded.broker import EmbeddedBroker as EmbeddedBroker
