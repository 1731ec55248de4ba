"""From settings to decoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avatar.decoders import frame_format, identity_of, open_decoder
from avatar.errors import AvatarError, PortraitError
from avatar.portrait.store import Identity
from avatar.render.decoder import Decoder
from config.settings import AvatarSettings


def test_the_settings_make_the_frames() -> None:
    decoder = open_decoder(AvatarSettings(size=256, framing="portrait", background="#102030"))
    assert isinstance(decoder, Decoder) and decoder.format.shape == (256, 144, 3)


@pytest.mark.parametrize(("size", "prepared"), [(256, 512), (512, 512), (768, 768)])
def test_identities_are_prepared_at_the_size_that_frames_need(size: int, prepared: int) -> None:
    identity = identity_of(AvatarSettings(size=size))
    assert identity.arrays["rgb_HW3"].shape == (prepared, prepared, 3)


def test_a_background_is_refused_before_the_portrait_is_prepared() -> None:
    settings = AvatarSettings(portrait="no/such/face.jpg", background="nowhere.png")
    with pytest.raises(AvatarError, match="There is no background"):
        open_decoder(settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that is asked for")
def test_a_missing_gpu_is_explained() -> None:
    with pytest.raises(AvatarError, match=r"no CUDA GPU .* avatar\.device to cpu"):
        open_decoder(AvatarSettings(device="cuda"))


def test_a_relative_background_in_a_profile_is_relative_to_the_profile(tmp_path: Path) -> None:
    from PIL import Image

    from config import load

    Image.new("RGB", (200, 200), (1, 2, 3)).save(tmp_path / "wall.png")
    (tmp_path / "mine.toml").write_text('[avatar]\nbackground = "wall.png"\n')
    settings = load(str(tmp_path / "mine.toml"), environ={}).settings
    assert frame_format(settings.avatar).background.kind == "picture"


def test_an_identity_of_another_version_is_explained(tmp_path: Path) -> None:
    whole = identity_of(AvatarSettings())
    arrays = {name: array for name, array in whole.arrays.items() if name != "rig.rigid_V"}
    saved = Identity(arrays, whole.meta).save(tmp_path / "old.safetensors")
    with pytest.raises(PortraitError, match="prepare the portrait again") as caught:
        open_decoder(AvatarSettings(portrait=str(saved)))
    assert caught.value.code == "bad_identity"
