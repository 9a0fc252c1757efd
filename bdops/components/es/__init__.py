"""Elasticsearch: settings, state, reader, checks and lists."""
