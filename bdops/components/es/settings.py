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
    """Settings of one node, or of all of them.

    node_name: Elasticsearch's `node.name`; None means the inventory's host name.
    ca: a PEM file with the certificate authority of the HTTP layer; None means the system's.
    api_key: the encoded key (`id:key` in base64, as Elasticsearch hands it out); it goes before user and password.
    snapshot_repositories: the repositories that must hold a good snapshot; none named: any registered one will do.
    snapshot_max_age_h: the newest good snapshot may be this old before it is a warning; critical at twice the age.
    backup_proved_max_age_d: the last restore that proved a snapshot may be so many days old; None: none is asked for.
    restart: how patient a restart is.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic from the class

    port: int = 9200
    transport_port: int = 9300
    scheme: Literal["http", "https"] = "http"
    ca: str | None = None
    verify: bool = True
    user: str | None = None
    password: SecretRef | None = None
    api_key: SecretRef | None = None
    node_name: str | None = None
    data_dirs: tuple[str, ...] = ()
    log_dir: str | None = None
    snapshot_repositories: tuple[str, ...] = ()
    snapshot_max_age_h: float = 26.0
    backup_proved_max_age_d: float | None = None
    restart: RestartRules = _PATIENCE


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
