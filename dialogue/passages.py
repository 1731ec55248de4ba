"""Reads a knowledge folder: Markdown files in which each heading opens a passage.

    # Opening hours                      the page's title, the passages' source
    ## When are you open on Monday?      a question or a topic
    Also asked: is it open on Monday; Monday opening times
    On Mondays we are closed.            the answer, as it will be spoken

Text before the first `##` heading is a passage of its own under the page's title.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dialogue.protocol import DialogueError

MAX_FILE_BYTES = 1_000_000
MAX_FILES = 500

_MARKUP = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),  # pictures
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),  # links keep their words
    (re.compile(r"<[^>\n]{1,200}>"), ""),
    (re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"^\s*(?:[-*+]|\d+\.)\s+", re.MULTILINE), ""),
    (re.compile(r"^\s*>\s?", re.MULTILINE), ""),
)


@dataclass(frozen=True, slots=True)
class Passage:
    """One answer.

    source: the page's title. title: the heading. questions: other ways to ask it. text: what is spoken.
    """

    source: str
    title: str
    questions: tuple[str, ...]
    text: str


def read_folder(folder: Path) -> list[Passage]:
    """All passages of `*.md` and `*.txt` below `folder`, in file order. Raises DialogueError."""
    if not folder.is_dir():
        raise DialogueError(
            f"The knowledge folder {folder} does not exist.",
            hint="Set dialogue.knowledge_dir to a folder of Markdown files.",
            retryable=False,
        )
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".md", ".txt"} and p.is_file())
    if len(files) > MAX_FILES:
        raise DialogueError(f"{folder} holds {len(files)} files; at most {MAX_FILES} are read.", retryable=False)
    passages = [passage for path in files for passage in _read_file(path)]
    if not passages:
        raise DialogueError(
            f"The knowledge folder {folder} holds no text.",
            hint="Add a Markdown file with a '## Question?' heading and its answer below.",
            retryable=False,
        )
    return passages


def plain(markdown: str) -> str:
    """Markdown as the words to be spoken, on one line."""
    for pattern, replacement in _MARKUP:
        markdown = pattern.sub(replacement, markdown)
    return re.sub(r"\s+", " ", markdown).strip()


def _read_file(path: Path) -> list[Passage]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DialogueError(f"{path} is larger than {MAX_FILE_BYTES} bytes.", hint="Split it.", retryable=False)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DialogueError(f"{path} is not UTF-8 text.", hint="Save it as UTF-8.", retryable=False) from None
    source = path.stem.replace("-", " ").replace("_", " ").capitalize()
    title, lines, passages = source, list[str](), list[Passage]()

    def close() -> None:
        questions = [
            q.strip()
            for line in lines
            if line.lower().startswith("also asked:")
            for q in line.partition(":")[2].split(";")
        ]
        body = plain("\n".join(line for line in lines if not line.lower().startswith("also asked:")))
        if body:
            passages.append(Passage(source, title, tuple(q for q in questions if q), body))
        lines.clear()

    for line in text.splitlines():
        heading = re.match(r"(#{1,6})\s+(.*)", line)
        if heading is None:
            lines.append(line)
            continue
        close()
        title = plain(heading.group(2))
        if len(heading.group(1)) == 1:
            source = title
    close()
    return passages
