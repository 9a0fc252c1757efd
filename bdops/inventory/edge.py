"""The shape of an inventory file, as pydantic models: what may be written where.

These live only while a file is read; `resolve` turns them into the frozen model. A component's own settings
are not here: they are validated into the type that the component brings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

from bdops.core import units
from bdops.core.model import SecretRef, ServiceManagerName


def _text(value: object) -> object:
    """Numbers are fine where a name is wanted: `rack: 1`."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _empty(value: object) -> object:
    """A key with nothing after it is an empty mapping."""
    return {} if value is None else value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Amount:
    """A limit, with the unit that it was written in: "%", "s", "bytes", or "" for a bare number."""

    value: float
    unit: str = ""


def amount(value: object) -> Amount | None:
    """A number, `80%`, `10m` or `5GB`: bare, percent, seconds, bytes. Raises ValueError."""
    found: Amount | None = None
    if value is None or isinstance(value, Amount):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = Amount(float(value))
    elif isinstance(value, str):
        for parse, unit in _AMOUNTS:
            try:
                found = Amount(float(parse(value)), unit)
                break
            except (ValueError, OverflowError):
                continue
    if found is None or not math.isfinite(found.value):
        raise ValueError("expected a number, a percentage (80%), a duration (10m) or a size (5GB)")
    return found


_AMOUNTS: tuple[tuple[Callable[[str], float], str], ...] = (
    (float, ""), (units.parse_percent, "%"), (units.parse_duration, "s"), (units.parse_size, "bytes"),
)  # fmt: skip


def moment(value: object) -> datetime:
    """`2026-12-01` (its first moment, UTC) or `2026-12-01T18:00` with or without an offset. Raises ValueError."""
    if isinstance(value, str):
        for parse in (date.fromisoformat, datetime.fromisoformat):
            try:
                found = parse(value)
            except ValueError:
                continue
            if not isinstance(found, datetime):
                return datetime(found.year, found.month, found.day, tzinfo=UTC)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found
    raise ValueError("expected a date such as 2026-12-01, or a moment such as 2026-12-01T18:00Z")


_ONE_OR_MORE = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
Text = Annotated[str, BeforeValidator(_text), Field(min_length=1), WithJsonSchema({"type": ["string", "number"]})]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_more), _ONE_OR_MORE]
Port = Annotated[int, Field(ge=1, le=65535)]
Hosts = Annotated[tuple[Text, ...], BeforeValidator(_one_or_more), Field(min_length=1), _ONE_OR_MORE]
Limit = Annotated[Amount | None, BeforeValidator(amount), WithJsonSchema({"type": ["number", "string", "null"]})]
Vars = Annotated[dict[str, Any], BeforeValidator(_empty)]


class Doc(BaseModel):
    """Base of all: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SshDoc(Doc):
    """What each field is for is said at `core.model.Ssh`."""

    user: Text | None = None
    port: Port | None = None
    keys: Texts | None = None
    password: SecretRef | None = None
    jump: Text | None = None
    known_hosts: Text | None = None
    agent: bool | None = None
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] | None = None
    config: Text | None = None


class ServiceDoc(Doc):
    """What each field is for is said at `core.model.Service`."""

    manager: ServiceManagerName | None = None
    unit: Text | None = None
    config: Text | None = None
    supervisorctl: Text | None = None
    start: tuple[Text, ...] | None = None
    stop: tuple[Text, ...] | None = None
    status: tuple[Text, ...] | None = None
    pid: tuple[Text, ...] | None = None
    files: Texts | None = None
    sudo: bool | None = None


SshPart = Annotated[SshDoc, BeforeValidator(_empty)]
ServicePart = Annotated[ServiceDoc, BeforeValidator(_empty)]


class HostDoc(Doc):
    """What is particular to one host, or to each host of a range."""

    address: Text | None = None
    """What clients and ssh connect to; null: its name. `{name}` is filled in."""
    rack: Text | None = None
    """The failure domain that the host is in."""
    update_domain: Text | None = None
    """Hosts that go down together beside the rack: a rebalance spreads the replicas of a partition over them too."""
    work_dir: Text | None = None
    """As in the cluster, for this host."""
    ssh: SshPart = SshDoc()
    """As in the cluster, for this host."""
    service: ServicePart = ServiceDoc()
    """As in the cluster, for the processes of this host."""
    vars: Vars = {}
    """As in the cluster, for this host."""
    groups: Texts = ()
    """Names by which selectors know the host: `@masters`."""


def _require_one_unit(warning: Amount | None, critical: Amount | None) -> None:
    if warning and critical and warning.unit != critical.unit:
        raise ValueError("expected warning and critical in the same unit")


class LimitsDoc(Doc):
    """Both are said, null for none: a limit that is left out must not vanish unnoticed."""

    warning: Limit
    """From here on the check says warning: a number in the check's unit, or `80%`, `10m`, `5GB`; null for none."""
    critical: Limit
    """From here on it says critical; null for none."""

    @model_validator(mode="after")
    def _of_one_unit(self) -> LimitsDoc:
        _require_one_unit(self.warning, self.critical)
        return self


class CheckDoc(Doc):
    """What the inventory says of one check, by its code."""

    enabled: bool = True
    """false switches the check off, true switches one on that is off by itself."""
    warning: Limit = None
    """The limit of a check that has one: a number in the check's unit, or `80%`, `10m`, `5GB`; null for none."""
    critical: Limit = None
    """Said together with `warning`; null for none."""
    limits: dict[str, LimitsDoc] = {}
    """The limits of a check that has several, by their names in checks.md."""

    @model_validator(mode="after")
    def _said_whole(self) -> CheckDoc:
        given = self.model_fields_set & {"warning", "critical"}
        if len(given) == 1:
            raise ValueError("expected both warning and critical; null stands for none")
        if given and self.limits:
            raise ValueError("expected either warning and critical, or limits by name, not both")
        _require_one_unit(self.warning, self.critical)
        return self


Checks = Annotated[dict[str, Annotated[CheckDoc, BeforeValidator(_empty)]], BeforeValidator(_empty)]


class MuteDoc(Doc):
    """Findings that are shown without being counted."""

    check: Text
    """A pattern of codes: `KAFKA_*`."""
    object: Text = "*"
    """A pattern of what the check names."""
    until: Annotated[datetime, BeforeValidator(moment), WithJsonSchema({"type": "string"})]
    """When it ends: a day begins at 00:00 UTC; a moment may be given."""
    reason: Text
    """Why; it is shown with what is muted."""


class RoleDoc(BaseModel):
    """What is not named here is a setting of the component."""

    model_config = ConfigDict(extra="allow", frozen=True)
    hosts: Hosts | None = None
    """The hosts that play the role: a host expression or a list of them."""
    service: ServicePart = ServiceDoc()
    """As in the cluster, for this role."""
    vars: Vars = {}
    """As in the cluster, for this role."""


class InstanceDoc(BaseModel):
    """What is not named here is a setting of the component."""

    model_config = ConfigDict(extra="allow", frozen=True)
    service: ServicePart = ServiceDoc()
    """As in the cluster, for this instance."""
    vars: Vars = {}
    """As in the cluster, for this instance."""


Mutes = Annotated[tuple[MuteDoc, ...], BeforeValidator(lambda value: () if value is None else value)]
Roles = Annotated[dict[str, Annotated[RoleDoc, BeforeValidator(_empty)]], BeforeValidator(_empty)]
Instances = Annotated[dict[str, Annotated[InstanceDoc, BeforeValidator(_empty)]], BeforeValidator(_empty)]


class PlacedDoc(InstanceDoc):
    """What a component's `hosts` says of some of them."""

    roles: Texts | None = None
    """The roles that these hosts play."""


def _form(value: object) -> str:
    return "placed" if isinstance(value, dict) else "named"


Placed = Annotated[
    Annotated[Hosts, Tag("named")]
    | Annotated[dict[str, Annotated[PlacedDoc, BeforeValidator(_empty)]], Field(min_length=1), Tag("placed")],
    Discriminator(_form),
]
"""Host expressions, or a mapping of them to what is particular to those hosts."""


class ComponentDoc(BaseModel):
    """What is not named here is a setting of the component."""

    model_config = ConfigDict(extra="allow", frozen=True)
    hosts: Placed | None = None
    """Where it runs: a host expression, a list of them, or a mapping of them to what is particular to those hosts."""
    roles: Roles = {}
    """What is particular to a role, by its name."""
    instances: Instances = {}
    """What is particular to a host, a range, or one process of a host (`node1/namenode`)."""
    service: ServicePart = ServiceDoc()
    """As in the cluster, for this component."""
    vars: Vars = {}
    """As in the cluster, for this component."""
    checks: Checks = {}
    """As in the cluster, for this component."""
    mutes: Mutes = ()
    """As in the cluster, for this component."""


class ClusterDoc(Doc):
    """One cluster, by its name."""

    work_dir: Text | None = None
    """Where bdops keeps its running acts and its lease on each host; `{host}` is filled in."""
    ssh: SshPart = SshDoc()
    """How its hosts are reached."""
    service: ServicePart = ServiceDoc()
    """How its processes are started and stopped."""
    vars: Vars = {}
    """Free variables, inherited down to the instances."""
    hosts: Annotated[dict[str, Annotated[HostDoc, BeforeValidator(_empty)]], Field(min_length=1)]
    """Its hosts, by name or range."""
    checks: Checks = {}
    """Limits, and which checks are on, by code."""
    mutes: Mutes = ()
    """What is silenced until when."""
    components: Annotated[dict[str, Annotated[ComponentDoc, BeforeValidator(_empty)]], BeforeValidator(_empty)] = {}
    """What runs on the hosts, by the component's name."""


class FileDoc(Doc):
    """One file of an inventory."""

    version: Literal[1] = 1
    """The version of this format."""
    clusters: Annotated[dict[str, ClusterDoc], Field(min_length=1)]
    """The clusters, by name."""
