"""Settings of a program: flags, then environment variables, then perhaps a file."""

from __future__ import annotations

from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource, PydanticBaseSettingsSource

from ccmusic.process.service_links import without_service_links


class EnvironmentSettings(BaseSettings):
    """Settings without the variables that Kubernetes sets for the Services of a namespace."""

    @classmethod
    def file_values(cls) -> dict[str, Any]:
        """The values of a file, which flags and variables override; there is no file by default."""
        return {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the one that takes precedence first: flags, environment, file."""
        assert isinstance(env_settings, EnvSettingsSource)  # noqa: S101  pydantic passes nothing else
        env_settings.env_vars = without_service_links(env_settings.env_vars)
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls.file_values())
