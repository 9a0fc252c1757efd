"""Kafka's metadata in a file: taken, compared, restored, proved on a broker of its own."""
