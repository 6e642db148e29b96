"""Puts the top-level folders that users edit inside the package of a wheel; editable installs use the checkout."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Bundle(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            for folder in ("grammars", "operators", "estimators"):
                build_data["force_include"][folder] = f"evosearch/_bundled/{folder}"
