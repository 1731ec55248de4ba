"""Tags that colour a reply, such as `{emotion=warm}`: passed on to the avatar, which takes them out of the words.

What they mean is docs/motion/controls.md; here is only how to tell a language model of them, and how to leave them out
of what is searched and recognised.
"""

from __future__ import annotations

import re
from typing import Final

INSTRUCTION: Final = """\
You have a face. To colour what you say, put a tag in braces directly before the words it is for; it is shown, never \
spoken, and holds until the next tag or the end of your reply. Emotions: warm, happy, sad, concerned, surprised, firm, \
neutral, with a strength from 0 to 1: {emotion=warm}, {emotion=happy:0.7}, {emotion=concerned:0.6}. \
Use at most one or two tags in a reply, only where a person's face would change, and none in plain information. \
Example: {emotion=concerned:0.6}I am sorry that your parcel is late. {emotion=warm}It will be with you tomorrow."""
"""Appended to the system prompt by `dialogue.emotion_tags`."""

_TAG: Final = re.compile(r"\{\s*[A-Za-z_]+\s*=[^{}]*\}\s*")


def words_of(text: str) -> str:
    """The text without its tags."""
    return _TAG.sub("", text)
