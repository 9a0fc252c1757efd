"""One Elasticsearch node over HTTP: deadlines, typed errors in plain words, no sniffing and no retries.

It stands on `elastic_transport`, the transport below Elastic's own client, and not on `elasticsearch` itself:
importing the client costs twice as much CPU (about 250 ms against 120) for wrappers of calls that bdops makes by
path anyway, and its retries and node pool are what must not happen here: each node is asked for itself, once.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import elastic_transport

from bdops.components.es.settings import Settings
from bdops.core.model import Instance
from bdops.core.units import format_duration
from bdops.errors import BdopsError, ConfigError, NotAuthorised, OperationFailed, StateUnknown, Unreachable

CONNECTION_REFUSED = "CONNECTION_REFUSED"
"""The error code of a server that is known not to run, as against one that is silent."""

NAMES_CHARS = 2000
"""Elasticsearch refuses request lines of more than 4 kB (`http.max_initial_line_length`)."""

Params = Mapping[str, str | int]

_PLAINTEXT_SIGNS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
"""What OpenSSL says when the other side answers a handshake with something that is not TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON answer with its HTTP status."""

    status: int
    body: Any


class Node:
    """One node's HTTP interface; safe to use from many threads. Secrets are resolved once, when it is made.

    Raises ConfigError when a secret or the CA file cannot be had.
    """

    def __init__(self, instance: Instance) -> None:
        settings: Settings = instance.settings
        self.instance = instance.name
        self.name = node_name(instance)
        self.where = f"{settings.scheme}://{instance.host.address}:{settings.port}"
        self._scheme = settings.scheme
        self._user = settings.user
        self._headers = elastic_transport.HttpHeaders({"accept": "application/json", **_authorization(settings)})
        try:
            self._node = elastic_transport.Urllib3HttpNode(_node_config(instance.host.address, settings))
        except (OSError, ValueError) as e:
            raise ConfigError(
                f"the certificate authority {settings.ca} cannot be used: {e}",
                where=instance.name,
                hint="`ca` is a PEM file on this machine",
            ) from None

    def get(self, path: str, params: Params | None = None, *, timeout_s: float) -> Any:
        """The JSON object at `path`. Raises Unreachable, NotAuthorised, or StateUnknown for another error status."""
        answer = self.request("GET", path, params, timeout_s=timeout_s)
        if answer.status >= 400:
            raise StateUnknown(f"GET /{path} failed: {_reason(answer)}", where=self.where)
        if not isinstance(answer.body, dict):
            raise _not_elasticsearch(self.where, f"a JSON {type(answer.body).__name__}")
        return answer.body

    def put(self, path: str, body: Any = None, params: Params | None = None, *, timeout_s: float) -> Any:
        """PUT and return the answer's body. Raises OperationFailed with Elasticsearch's reason."""
        return self._change("PUT", path, body, params, timeout_s)

    def post(self, path: str, body: Any = None, params: Params | None = None, *, timeout_s: float) -> Any:
        """POST and return the answer's body; `body` may be newline-delimited JSON as text."""
        return self._change("POST", path, body, params, timeout_s)

    def delete(self, path: str, params: Params | None = None, *, timeout_s: float) -> Any:
        """DELETE; what is not there is deleted already."""
        return self._change("DELETE", path, None, params, timeout_s, accept=(404,))

    def close(self) -> None:
        """Let go of the connections."""
        self._node.close()

    def request(
        self, method: str, path: str, params: Params | None = None, body: Any = None, *, timeout_s: float
    ) -> Answer:
        """One HTTP exchange. Any status but 401 and 403 is an Answer. Raises Unreachable and NotAuthorised."""
        headers = self._headers.copy()
        data = None
        if body is not None:
            lines = isinstance(body, str)
            headers["content-type"] = "application/x-ndjson" if lines else "application/json"
            data = body.encode() if lines else json.dumps(body).encode()
        target = f"/{path}?{urlencode(params)}" if params else f"/{path}"
        try:
            meta, raw = self._node.perform_request(method, target, data, headers, request_timeout=timeout_s)
        except elastic_transport.TransportError as e:
            raise self._unreachable(e, timeout_s) from None
        try:
            # Some changes are acknowledged without a word.
            decoded = None if not raw and method != "GET" and meta.status < 300 else json.loads(raw)
        except ValueError:
            if meta.status in (401, 403):
                raise self._not_authorised(Answer(status=meta.status, body=None)) from None
            raise _not_elasticsearch(self.where, f"HTTP {meta.status} with {_excerpt(raw)}") from None
        answer = Answer(status=meta.status, body=decoded)
        if meta.status in (401, 403):
            raise self._not_authorised(answer)
        return answer

    def _change(
        self,
        method: str,
        path: str,
        body: Any,
        params: Params | None,
        timeout_s: float,
        accept: tuple[int, ...] = (),
    ) -> Any:
        answer = self.request(method, path, params, body, timeout_s=timeout_s)
        if answer.status >= 400 and answer.status not in accept:
            raise OperationFailed(f"{method} /{path} failed: {_reason(answer)}", where=self.where)
        return answer.body

    def _unreachable(self, error: elastic_transport.TransportError, timeout_s: float) -> BdopsError:
        text = str(error.message)
        if isinstance(error, elastic_transport.ConnectionTimeout):
            return Unreachable(f"no answer within {format_duration(timeout_s)}", where=self.where)
        if isinstance(error, elastic_transport.TlsError):
            if any(sign in text.upper().replace(" ", "_") for sign in _PLAINTEXT_SIGNS):
                return Unreachable(
                    "the server does not speak TLS, but the inventory says https",
                    where=self.where,
                    hint="set `scheme: http`, or switch on TLS for the server's HTTP layer",
                )
            if "CERTIFICATE_VERIFY_FAILED" in text.upper().replace(" ", "_"):
                return Unreachable(
                    f"the server's certificate is not trusted: {_after(text, 'certificate verify failed:')}",
                    where=self.where,
                    hint="set `ca` to the PEM file of the authority that signed it",
                )
            return Unreachable(f"the TLS handshake failed: {text}", where=self.where)
        if "refused" in text:
            return Unreachable(
                "connection refused",
                where=self.where,
                hint="is the node running, and is this its port?",
                code=CONNECTION_REFUSED,
            )
        if any(sign in text for sign in ("BadStatusLine", "LineTooLong", "IncompleteRead", "InvalidChunkLength")):
            return _not_elasticsearch(self.where, "something that is not HTTP")
        if "RemoteDisconnected" in text or "reset by peer" in text.lower():
            tls = " (a server that expects TLS does that)" if self._scheme == "http" else ""
            return Unreachable(
                f"the server closed the connection without an answer{tls}",
                where=self.where,
                hint="set `scheme: https` if the HTTP layer has TLS" if tls else None,
            )
        if "resolve" in text or "Name or service" in text:
            return Unreachable("the address does not resolve", where=self.where)
        return Unreachable(f"no connection: {text}", where=self.where)

    def _not_authorised(self, answer: Answer) -> NotAuthorised:
        who = f"the user {self._user}" if self._user else "the API key" if "authorization" in self._headers else None
        if who is None:
            return NotAuthorised(
                "the server asks for a login, and the inventory has none",
                where=self.where,
                hint="set `user` and `password`, or `api_key`",
            )
        if answer.status == 401:
            return NotAuthorised(
                f"the server does not accept {who}: wrong name, password or key",
                where=self.where,
                hint="check what the secret references resolve to",
            )
        return NotAuthorised(
            f"{who} may not do this: {_reason(answer)}",
            where=self.where,
            hint="docs/security.md has the privileges that each command needs",
        )


def node_name(instance: Instance) -> str:
    """The node's `node.name`: as set in the inventory, else the host's name."""
    return instance.settings.node_name or instance.host.name


def escape(name: str) -> str:
    """An index's or a snapshot's name as a part of a path."""
    return quote(name, safe="")


def name_lists(names: Iterable[str]) -> list[str]:
    """Escaped names, separated by commas, in as many lists as it takes for each to fit into a request line."""
    lists: list[str] = []
    for name in sorted(map(escape, names)):
        if lists and len(lists[-1]) + len(name) < NAMES_CHARS:
            lists[-1] += f",{name}"
        else:
            lists.append(name)
    return lists


def _node_config(address: str, settings: Settings) -> elastic_transport.NodeConfig:
    tls: dict[str, Any] = {}
    if settings.scheme == "https":
        tls = {"verify_certs": settings.verify, "ssl_show_warn": False}
        if settings.ca:
            # The transport would look at the file at the first request only, and blame the server.
            ssl.create_default_context(cafile=settings.ca)
            tls["ca_certs"] = settings.ca
        if not settings.verify:
            tls["ssl_assert_hostname"] = False
    return elastic_transport.NodeConfig(
        scheme=settings.scheme, host=address, port=settings.port, connections_per_node=16, **tls
    )


def _authorization(settings: Settings) -> dict[str, str]:
    if settings.api_key is None and settings.password is None:
        return {}
    from bdops.hosts.secrets import reveal

    if settings.api_key is not None:
        return {"authorization": f"ApiKey {reveal(settings.api_key)}"}
    assert settings.password is not None
    login = f"{settings.user or ''}:{reveal(settings.password)}"
    return {"authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def _reason(answer: Answer) -> str:
    """Elasticsearch's own words for an error with those for its first cause, or the status when it has none."""
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    if isinstance(error, dict):
        text, cause = error.get("reason") or error.get("type"), error
        while isinstance(cause.get("caused_by"), dict):
            cause = cause["caused_by"]
        why = cause.get("reason")
        return f"{text}{f': {why}' if why and why not in str(text) else ''} (HTTP {answer.status})"
    return f"{error} (HTTP {answer.status})" if error else f"HTTP {answer.status}"


def _not_elasticsearch(where: str, what: str) -> Unreachable:
    return Unreachable(
        f"the server does not answer as Elasticsearch does: {what}",
        where=where,
        hint="`port` is that of the HTTP layer (9200), not of the transport (9300)",
    )


def _excerpt(raw: bytes) -> str:
    return repr(raw[:60].decode("utf-8", "replace")) if raw else "an empty body"


def _after(text: str, mark: str) -> str:
    return text.split(mark, 1)[-1].split("(_ssl")[0].strip() or text
