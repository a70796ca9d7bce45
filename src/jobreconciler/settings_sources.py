"""The sources beyond flags and defaults: variables and the TOML file, by pydantic-settings.

A module of its own because importing pydantic-settings takes longer than validating a job file;
`settings.load_settings` comes here only when a variable or a file has something to say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
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


class _File(PydanticBaseSettingsSource):
    """`jobreconciler.toml`; `max-running` and `max_running` are the same key."""

    def __init__(self, cls: type[BaseSettings], path: Path) -> None:
        super().__init__(cls)
        self._read = {name.replace("-", "_"): value for name, value in read_toml(path).items()}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return self._read.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Unknown keys too, so that the model refuses them by name."""
        return self._read


def read_toml(path: Path) -> dict[str, Any]:
    """The file's content. Raises Refused with the line where it isn't TOML."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from None


def layered(
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    variables: Iterable[str],
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
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            of_environment = _Variables(settings_cls, wanted)
            sources: list[PydanticBaseSettingsSource] = [init_settings, of_environment]
            if config is not None:
                sources.append(_File(settings_cls, config))
            return tuple(sources)

    merged = Layered(**given)
    return Settings.model_construct(
        merged.model_fields_set, **{name: getattr(merged, name) for name in Settings.model_fields}
    )
