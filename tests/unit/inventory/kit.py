"""Small components to load inventories with: one process for all roles, and one for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bdops.core.component import ComponentSettings, Role
from bdops.core.model import Instance, SecretRef
from bdops.errors import ConfigError, ConfigErrors
from bdops.inventory.load import LoadedInventory, load_inventory

STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    __pydantic_config__: ClassVar = STRICT
    ca: str | None = None
    key: SecretRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    __pydantic_config__: ClassVar = STRICT
    port: int = 9092
    controller_port: int = 9093
    mode: Literal["plain", "tls"] = "plain"
    tls: Tls = Tls()
    password: SecretRef | None = None
    data_dirs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode == "tls" and not self.tls.ca:
            raise ValueError("mode tls needs tls.ca")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    __pydantic_config__: ClassVar = STRICT
    port: int | None = None
    id: str | None = None


QUEUE = ComponentSettings(
    type=QueueSettings,
    roles=(
        Role(name="controller", ports=("controller_port",)),
        Role(name="broker", ports=("port",)),
        Role(name="observer", ports=("port",), by_default=False),
    ),
    shared_process=True,
)
STORE = ComponentSettings(
    type=StoreSettings,
    roles=(Role(name="namenode", ports=("port",), defaults={"port": 8020}), Role(name="datanode", ports=("port",))),
    shared_process=False,
)
SETTINGS = {"queue": QUEUE, "store": STORE}


def load(folder: Path, text: str) -> LoadedInventory:
    """The inventory of a text."""
    file = folder / "inv.yaml"
    file.write_text(text)
    return load_inventory(file, SETTINGS)


def errors_of(folder: Path, text: str | bytes) -> list[ConfigError]:
    """The errors of a text, which must have some."""
    file = folder / "inv.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    try:
        load_inventory(file, SETTINGS)
    except ConfigErrors as e:
        return list(e.errors)
    except ConfigError as e:
        return [e]
    raise AssertionError("the inventory is valid")


def instances(inventory: LoadedInventory) -> dict[str, Instance]:
    """Every instance by name."""
    return {i.name: i for c in inventory.clusters for d in c.deployments for i in d.instances}
