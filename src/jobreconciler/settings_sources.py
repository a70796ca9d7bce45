"""The sources beyond flags and defaults: variables and the TOML file, by pydantic-settings.

A module of its own because importing pydantic-settings takes longer than validating a job file;
`settings.load_settings` comes here only when a variable or a file has something to say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from jobreconciler.errors import Refused
from jobreconciler.settings import PREFIX, Settings


class _Variables(EnvSettingsSource):
    """`JOBRECONCILER_*` of a given mapping, and of it only the variables the command needs."""

    def __init__(self, cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = {name.lower(): value for name, value in environ.items()}
        super().__init__(cls, env_prefix=PREFIX, env_ignore_empty=True, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in self._environ.items() if value}


class _File(TomlConfigSettingsSource):
    """`jobreconciler.toml`; `max-running` and `max_running` are the same key."""

    def _read_file(self, file_path: Path) -> dict[str, Any]:
        try:
            with file_path.open("rb") as stream:
                read = tomllib.load(stream)
        except tomllib.TOMLDecodeError as error:
            raise Refused(f"{file_path}: not TOML: {error}") from None
        except OSError as error:
            raise Refused(f"{file_path}: cannot be read: {error.strerror}") from None
        return {name.replace("-", "_"): value for name, value in read.items()}


def layered(
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    variables: Mapping[str, str],
    config: Path | None,
) -> Settings:
    """Flags over variables over the file over the defaults. Raises ValidationError, Refused."""
    wanted = {name: environ[name] for name in variables if name in environ}

    class Layered(Settings, BaseSettings):
        model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=False)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            **_: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources = [init_settings, _Variables(settings_cls, wanted)]
            if config is not None:
                sources.append(_File(settings_cls, toml_file=config))
            return tuple(sources)

    merged = Layered(**given)
    return Settings.model_construct(
        merged.model_fields_set, **{name: getattr(merged, name) for name in Settings.model_fields}
    )
