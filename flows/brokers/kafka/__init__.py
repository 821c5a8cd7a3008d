"""Kafka as a broker: `broker.KafkaBroker` over aiokafka's connections, records and protocol."""
