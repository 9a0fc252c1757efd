"""What the inventory may say of Elasticsearch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bdops.core.actor import RestartRules
from bdops.core.component import ComponentSettings, Role
from bdops.core.model import SecretRef

_PATIENCE = RestartRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one node, or of all of them."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic from the class

    port: int = 9200
    """`http.port`."""
    transport_port: int = 9300
    """`transport.port`, by which the nodes speak to each other."""
    scheme: Literal["http", "https"] = "http"
    """https where the HTTP layer has TLS."""
    ca: str | None = None
    """A PEM file with the certificate authority of the HTTP layer; null: the system's."""
    verify: bool = True
    """false accepts any certificate and any host name."""
    user: str | None = None
    """The user's name; null: nobody is named."""
    password: SecretRef | None = None
    """The user's password."""
    api_key: SecretRef | None = None
    """The encoded key (`id:key` in base64, as Elasticsearch hands it out); it goes before user and password."""
    node_name: str | None = None
    """Elasticsearch's `node.name`; null: the inventory's host name."""
    data_dirs: tuple[str, ...] = ()
    """`path.data` on the host: whose disks are checked."""
    log_dir: str | None = None
    """`path.logs` on the host: whose disk is checked, and whose end `bdops host look` brings."""
    snapshot_repositories: tuple[str, ...] = ()
    """The repositories that must hold a good snapshot; none named: any registered one will do."""
    snapshot_max_age_h: float = 26.0
    """How old the newest good snapshot may be before it is a warning; critical at twice the age."""
    backup_proved_max_age_d: float | None = None
    """How old the last restore that proved a snapshot may be; null: none is asked for."""
    restart: RestartRules = _PATIENCE
    """How patient a restart is."""


_PORTS = ("port", "transport_port")
_NO_DEFAULTS: dict[str, Any] = {}

_BY_DEFAULT = {"master", "data", "ingest"}

# The names are Elasticsearch's own `node.roles`; `coordinating` is a node with an empty list of roles.
SETTINGS = ComponentSettings(
    type=Settings,
    roles=tuple(
        Role(name=name, ports=_PORTS, defaults=_NO_DEFAULTS, by_default=name in _BY_DEFAULT)
        for name in (
            "master",
            "data",
            "data_content",
            "data_hot",
            "data_warm",
            "data_cold",
            "data_frozen",
            "ingest",
            "ml",
            "transform",
            "coordinating",
        )
    ),
    shared_process=True,
)
