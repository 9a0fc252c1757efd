"""Requests that the client library lacks, of its own protocol classes: a name, and a schema beside this."""

from __future__ import annotations

from kafka.protocol.api_message import ApiMessage


class UnregisterBrokerRequest(ApiMessage, load_json=__name__):  # type: ignore[call-arg]
    """Forget a broker that is down for good (KIP-500; API key 64)."""


class UnregisterBrokerResponse(ApiMessage, load_json=__name__):  # type: ignore[call-arg]
    """Its answer."""
