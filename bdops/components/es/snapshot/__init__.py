"""Snapshots of Elasticsearch: made, listed, held, pruned, restored, and proved by restoring them."""
