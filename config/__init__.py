"""Settings: what can be set, its defaults, and where each value came from."""

from config.load import ConfigError, Loaded, load
from config.settings import Settings

__all__ = ["ConfigError", "Loaded", "Settings", "load"]
