"""Every setting of the product, in one typed tree.

Order of precedence, weakest first: built-in default, profile (TOML), environment `VISAVIS_*`
(`VISAVIS_KIOSK__PORT=8090`), command line. Paths in a profile are relative to the profile's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class Section(BaseModel):
    """A group of settings; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class AvatarSettings(Section):
    portrait: str = Field("default", description="'default', an image file, or a prepared identity file")
    face_index: int | None = Field(
        None, ge=0, description="which face of the picture, 0 the largest; None refuses to guess"
    )
    glasses: Literal["auto", "yes", "no"] = Field("auto", description="does the portrait wear glasses; auto looks")
    size: Literal[256, 512, 768, 1024] = Field(512, description="height of the video in pixels")
    framing: Literal["square", "portrait"] = Field("square", description="square, or portrait for 9:16")
    background: str = Field(
        "photo", description="photo, transparent, a colour such as #e8eef4, or an image file that fills the frame"
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        "cpu", description="what draws the face and runs the transformer; auto is a GPU (cuda) where there is one"
    )
    seed: int = Field(0, ge=0, description="seed of blinks, gaze and head motion")
    motion: Literal["diffusion", "articulation"] = Field(
        "diffusion", description="what moves the face: the diffusion transformer, or the articulation rules"
    )
    motion_model: str = Field(
        "small", description="the transformer: small, base (not shipped: train it), or a .safetensors file of weights"
    )
    motion_steps: int | None = Field(
        None, ge=1, le=10, description="steps of the transformer's sampler for a window; None: what it was trained for"
    )
    motion_seats: int = Field(
        4,
        ge=1,
        le=64,
        description="sessions of one process at once where a GPU runs the transformer; kiosk and room need 1",
    )
    emotion: str = Field(
        "neutral", description="resting emotion: warm, warm:0.6, happy:0.5+surprised:0.3, valence=0.4,arousal=0.2"
    )
    liveliness: str = Field(
        "usual", coerce_numbers_to_str=True, description="composed, usual, animated, or 0 (composed) to 1 (animated)"
    )
    gaze: str = Field(
        "0,0", description="main direction of the eyes: degrees to the picture's right, degrees up; 0,0 is the visitor"
    )
    distance: str = Field(
        "usual", coerce_numbers_to_str=True, description="near, usual, far, or 0.78 (nearer) to 1.28 times the usual"
    )
    models_dir: Path | None = Field(None, description="folder that already holds the portrait-analysis model files")
    cache_dir: Path | None = Field(None, description="cache for model files and identities; default ~/.cache/visavis")

    @field_validator("motion_model")
    @classmethod
    def _size_or_file(cls, value: str) -> str:
        if value not in ("small", "base") and not value.endswith(".safetensors"):
            raise PydanticCustomError("motion_model", "use small, base, or the path of a .safetensors file")
        return value


class DialogueSettings(Section):
    backend: str = Field("knowledge", description="knowledge, openai, websocket, or an installed plug-in's name")
    knowledge_dir: Path | None = Field(None, description="folder of Markdown / FAQ files that the answers come from")
    base_url: str | None = Field(None, description="OpenAI-compatible endpoint, or ws:// address of your own bot")
    api_key: SecretStr | None = Field(None, description="key of the OpenAI-compatible endpoint or of the bot")
    model: str = Field("gpt-4o-mini", description="model name sent to the OpenAI-compatible endpoint")
    system_prompt: str = Field(
        "You are a friendly assistant who speaks aloud. Answer in one to three short sentences, "
        "without lists or markup.",
        description="instructions for the language model",
    )
    emotion_tags: bool = Field(
        False, description="tell the language model how to colour a reply with tags such as {emotion=warm}"
    )
    temperature: float = Field(0.4, ge=0, le=2)
    max_tokens: int = Field(300, ge=1, le=4096)
    first_token_timeout_s: float = Field(8.0, gt=0, le=120, description="give up when no text has come by then")
    total_timeout_s: float = Field(60.0, gt=0, le=600)
    retries: int = Field(2, ge=0, le=5)
    max_history: int = Field(20, ge=2, le=200, description="messages sent to the backend")
    fallback_text: str = Field(
        "I am sorry, I cannot reach my knowledge right now. Please try again in a moment.",
        description="spoken when the backend is down",
    )


class SpeechSettings(Section):
    stt: Literal["auto", "faster-whisper", "pocketsphinx"] = Field("auto", description="recogniser")
    stt_model: str | None = Field(None, description="faster-whisper model: a local folder or a cached name")
    tts: Literal["auto", "flite", "espeak", "coqui"] = Field("auto", description="synthesiser")
    voice: str | None = Field(
        None, description="the synthesiser's voice (flite: slt, rms, awb, kal16; espeak: en-us, ...)"
    )
    tts_model: str | None = Field(None, description="coqui model: a local folder or a cached name")
    rate: float = Field(1.0, ge=0.5, le=2.0, description="speaking rate")
    end_of_turn_min_s: float = Field(0.3, ge=0.1, le=5, description="shortest silence that ends a turn")
    end_of_turn_max_s: float = Field(0.9, ge=0.2, le=10, description="longest wait when the turn sounds unfinished")
    barge_in: bool = Field(True, description="the visitor may interrupt by voice")
    barge_in_min_s: float = Field(0.25, ge=0.05, le=2, description="speech shorter than this does not interrupt")


class SessionSettings(Section):
    title: str = Field("visavis", description="shown on the page")
    language: str = Field("en", description="language of page and speech")
    greeting: str = Field("Hello! How can I help you?", description="spoken at the start; empty for none")
    disclosure: str = Field(
        "You are talking with an AI assistant. The face is AI-generated.", description="shown on the page at all times"
    )
    signage: str = Field("", description="where the operator's notice on site can be read")
    idle_reset_s: float = Field(120.0, ge=5, le=3600, description="forget the visitor after this much silence")
    max_session_s: float = Field(3600.0, ge=30, description="end a session after this long")
    debug: bool = Field(False, description="show technical details and the motion's controls on the page")


class KioskSettings(Section):
    host: str = Field("127.0.0.1", description="address to listen on; loopback unless you mean otherwise")
    port: int = Field(8080, ge=0, le=65535, description="0 picks a free one")
    allowed_origins: list[str] = Field(default_factory=list, description="further page origins that may connect")
    jpeg_quality: int = Field(82, ge=30, le=95)


class RoomSettings(Section):
    url: str = Field("ws://127.0.0.1:7880", description="LiveKit server")
    api_key: SecretStr = Field(SecretStr("devkey"), description="LiveKit API key")
    api_secret: SecretStr = Field(SecretStr("secret"), description="LiveKit API secret")
    agent_name: str = Field("visavis", description="name for explicit dispatch")
    max_visits: int = Field(2, ge=1, le=64, description="visits at once in this worker; about a core each")
    port: int = Field(8081, ge=0, le=65535, description="port of the page and token endpoint")


class Settings(BaseSettings):
    """The whole tree; `Settings()` is the defaults alone, `config.load` adds profile, environment and command line."""

    model_config = SettingsConfigDict(
        env_prefix="VISAVIS_", env_nested_delimiter="__", extra="forbid", validate_default=True
    )

    profile: str = Field("kiosk", description="kiosk, customer-service, tutor, or a TOML file")
    avatar: AvatarSettings = Field(default_factory=AvatarSettings)
    dialogue: DialogueSettings = Field(default_factory=DialogueSettings)
    speech: SpeechSettings = Field(default_factory=SpeechSettings)
    session: SessionSettings = Field(default_factory=SessionSettings)
    kiosk: KioskSettings = Field(default_factory=KioskSettings)
    room: RoomSettings = Field(default_factory=RoomSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the caller gives: the other sources are merged by `config.load`, which records each leaf's."""
        return (init_settings,)
