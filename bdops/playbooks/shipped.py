"""The playbooks that come with bdops."""

from __future__ import annotations

from pathlib import Path


def shipped() -> dict[str, Path]:
    """Their files by their names: in the installed package, or beside it in the sources."""
    package = Path(__file__).parents[1]
    folder = next((f for f in (package / "shipped_playbooks", package.parent / "playbooks") if f.is_dir()), package)
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
