"""Will this portrait animate well? The report behind `visavis portrait check`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.errors import PortraitError
from avatar.portrait.analyse import PortraitAnalysis, choose, find_faces, frame_face, judge, no_face
from avatar.portrait.grades import PortraitReport, overall
from avatar.portrait.image import load_image
from avatar.portrait.measures import measure
from avatar.portrait.models import load_models
from avatar.portrait.preview import draw_preview
from config.settings import AvatarSettings

U8 = NDArray[np.uint8]


def check_portrait(
    source: str | Path | bytes,
    *,
    face_index: int | None = None,
    preview: Path | None = None,
    settings: AvatarSettings | None = None,
) -> PortraitReport:
    """Grade a picture file. A picture that cannot be used gives a report too (`usable` false), not an exception.

    preview: where to write an annotated PNG, whenever there is a picture to show.
    Raises PortraitError only when the models are missing or the preview cannot be written.
    """
    models = load_models(settings)
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        image = load_image(source)
    except PortraitError as error:
        return _refused(name, error, [])
    timings: dict[str, float] = {}
    faces = find_faces(models, image, timings)
    height, width = image.rgb_HW3.shape[:2]
    places = [face.describe(width, height) for face in faces]
    index: int | None = None
    analysis: PortraitAnalysis | None = None
    try:
        if not faces:
            raise no_face(models, image)
        index, notes = choose(faces, image, face_index)
        judge(faces[index], image)  # its warnings are said below, with their measures
        notes = [*image.warnings, *notes]
        told = "auto" if settings is None else settings.glasses
        analysis = frame_face(models, image, faces, index, size=512, warnings=notes, timings=timings, glasses=told)
        aspects = measure(image, faces[index], analysis)
        report = PortraitReport(
            name, True, overall(aspects), aspects, analysis.warnings, places, timings_ms=analysis.timings_ms
        )
    except PortraitError as error:
        report = _refused(name, error, places)
    if preview is not None:
        _write_png(preview, draw_preview(image, faces, index, analysis, report))
    return report


def _refused(name: str, error: PortraitError, faces: list[str]) -> PortraitReport:
    return PortraitReport(name, False, faces=faces, code=error.code, message=error.message, hint=error.hint)


def _write_png(path: Path, rgb_HW3: U8) -> None:
    from PIL import Image

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb_HW3).save(path, format="PNG")
    except OSError as error:
        reason = error.strerror or str(error)
        raise PortraitError("not_writable", f"{path} cannot be written: {reason}.", "Choose another place.") from error
