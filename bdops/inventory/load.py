"""Loads an inventory: one YAML file, or a folder of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bdops.core.component import ComponentSettings
from bdops.core.model import Inventory
from bdops.errors import ConfigError
from bdops.inventory.origins import Origins
from bdops.inventory.problems import Problems, position, raise_all
from bdops.inventory.resolve import port_clashes, resolve_cluster
from bdops.inventory.shape import SettingsReader, checked_file
from bdops.inventory.yaml_source import origin_of, parse_yaml, read_text


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedInventory(Inventory):
    """An inventory that also knows where each of its values was written."""

    origins: Origins


def load_inventory(path: Path, settings: Mapping[str, ComponentSettings]) -> LoadedInventory:
    """Read and validate an inventory.

    `path` is a file, or a folder whose *.yaml and *.yml files are read together, each a whole document;
    `settings` has what each component may be told, by the component's name. Raises ConfigError, or
    ConfigErrors with all that is wrong, each with file:line, the path, what was expected and a likely spelling.
    """
    errors: list[ConfigError] = []
    origins = Origins()
    clusters = []
    readers: dict[str, SettingsReader] = {name: SettingsReader(each) for name, each in settings.items()}
    for file in _files(path):
        try:
            root = parse_yaml(read_text(file), str(file), errors)
        except ConfigError as e:
            errors.append(e)
            continue
        problems = Problems(root, str(file))
        doc = checked_file(root, problems)
        for name, cluster in doc.clusters.items() if doc else ():
            if name in origins.roots:
                first = origin_of(origins.roots[name], ("clusters", name))
                problems.add(("clusters", name), f"the cluster is there twice; it was first defined in {first}")
                continue
            origins.roots[name] = root
            clusters.append(resolve_cluster(name, cluster, settings, readers, problems, origins))
        errors += problems.errors()
    for instance, port, message in port_clashes(clusters, settings, origins):
        where = origins.origin(instance.name, port) or origin_of(
            origins.roots[instance.cluster], ("clusters", instance.cluster, "components", instance.component)
        )
        errors.append(
            ConfigError(
                f"clusters.{instance.cluster}.components.{instance.component}.{port}: {message}",
                where=str(where),
                hint="give one of them another port or another host",
                code="INVENTORY_INVALID",
            )
        )
    raise_all(sorted(errors, key=position))
    return LoadedInventory(clusters=tuple(clusters), source=str(path), origins=origins)


def _files(path: Path) -> list[Path]:
    """The files of an inventory. Raises ConfigError for a path that is not there and a folder without any."""
    try:
        if not path.is_dir():
            path.stat()
            return [path]
    except FileNotFoundError:
        raise ConfigError(
            "there is no such inventory",
            where=str(path),
            hint="name one with -i FILE, or copy inventory/three-hosts.yaml and edit it",
            code="INVENTORY_INVALID",
        ) from None
    except OSError as e:
        raise ConfigError(
            f"cannot read the inventory: {e.strerror}", where=str(path), code="INVENTORY_INVALID"
        ) from None
    try:
        files = sorted(
            file for file in path.iterdir() if file.suffix in (".yaml", ".yml") and not file.name.startswith(".")
        )
    except OSError as e:
        raise ConfigError(
            f"cannot read the inventory folder: {e.strerror}", where=str(path), code="INVENTORY_INVALID"
        ) from None
    if not files:
        raise ConfigError("the folder has no *.yaml or *.yml file", where=str(path), code="INVENTORY_INVALID")
    return files
