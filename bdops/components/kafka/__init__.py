"""Kafka, in KRaft mode: reader, checks and lists. Speaks the Kafka protocol; no JVM is needed."""
