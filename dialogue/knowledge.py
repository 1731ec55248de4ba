"""The embedded dialogue: BM25 over a folder of Markdown.

It answers with the passage that fits best and names its source, says plainly when it does not know,
greets, repeats and says goodbye. It invents nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import AsyncIterator, Callable, Sequence

import bm25s
import numpy as np
import Stemmer

from config.settings import DialogueSettings
from dialogue.passages import Passage, read_folder
from dialogue.protocol import DialogueError, Message
from dialogue.tags import words_of

MIN_COVERAGE = 0.5
"""Least share of the question's information (sum of idf) that the passage must contain to count as an answer."""

_STOPWORDS = frozenset(
    """
    a an and are as at be been but by can could did do does for from had has have hello hey hi how i if
    in is it its may me my of on or our please say shall should so tell that the their them then there
    these they this to us was we were what what's when where which who why will with would you your
    about much many long any some get know like want need im am just also thanks thank ok okay um uh er
    """.split()  # noqa: SIM905 (a list of words reads better as text)
)
_GREETING = re.compile(r"^(hi|hello|hey|good (morning|afternoon|evening|day)|greetings)( there| everyone)?$")
_GOODBYE = re.compile(
    r"^(ok |okay |thanks |thank you |well )*(good ?bye|bye( bye)?|see you( later| soon)?|have a (nice|good) day)$"
)
_THANKS = re.compile(r"^(ok |okay |great |many )?(thanks|thank you)( very much| so much| a lot)?$")
_REPEAT = re.compile(
    r"\b(repeat( that| it| please)?|say (that|it) again|come again|pardon( me)?|what did you (just )?say|once more)\b"
)
_FOLLOW_UP = re.compile(r"^(and|what about|how about|and what about|and on|and for)\b")
_HELP = re.compile(r"\b(what can (you|i) (do|ask)|help( me)?$|what do you know)\b")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Knowledge:
    """Answers from a list of passages. See dialogue.protocol.Dialogue."""

    def __init__(
        self,
        settings: DialogueSettings,
        *,
        today: Callable[[], dt.date] = dt.date.today,
        passages: Sequence[Passage] = (),
    ) -> None:
        self._settings = settings
        self._today = today
        self._passages = list(passages)
        self._stem = Stemmer.Stemmer("english").stemWord

    async def open(self) -> None:
        if not self._passages:
            folder = self._settings.knowledge_dir
            if folder is None:
                raise DialogueError(
                    "No knowledge folder is set.",
                    hint="Set dialogue.knowledge_dir to a folder of Markdown files.",
                    retryable=False,
                )
            self._passages = await asyncio.to_thread(read_folder, folder)
        # A question counts three times: what people ask is closer to a heading than to a body.
        documents = [
            self._tokens(
                " ".join([p.source, *[p.title] * 3, *[q for q in p.questions for _ in range(3)], words_of(p.text)])
            )
            for p in self._passages
        ]
        self._terms = [frozenset(tokens) for tokens in documents]
        self._asked = [[self._content(q) for q in (p.title, *p.questions)] for p in self._passages]
        count = len(documents)
        frequency: dict[str, int] = {}
        for terms in self._terms:
            for term in terms:
                frequency[term] = frequency.get(term, 0) + 1
        self._idf = {term: float(np.log(1 + (count - n + 0.5) / (n + 0.5))) for term, n in frequency.items()}
        self._unknown_idf = float(np.log(1 + (count + 0.5) / 0.5))
        self._index = bm25s.BM25()
        self._index.index(documents, show_progress=False)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def vocabulary(self) -> Sequence[str]:
        sentences = ["hello", "goodbye", "thank you", "please repeat that", "say that again", "what can you do"]
        for passage in self._passages:
            sentences += [passage.title, *passage.questions]
            sentences += [s for s in re.split(r"(?<=[.!?])\s+", words_of(passage.text)) if s]
        return sentences

    async def reply(self, history: Sequence[Message], *, session_id: str) -> AsyncIterator[str]:
        text = self.answer(history)
        for sentence in re.split(r"(?<=[.!?])(?=\s)", text):
            yield sentence
            await asyncio.sleep(0)

    def answer(self, history: Sequence[Message]) -> str:
        """The whole reply to the last message of `history`, which is all it depends on: sessions leave no trace."""
        assert history and history[-1].role == "user", "history ends with the user's message"
        question = re.sub(r"[^\w\s']", " ", history[-1].text.lower())
        question = re.sub(r"\s+", " ", question).strip()
        if _REPEAT.search(question):
            # The history holds what was spoken; a reply composed here may have been discarded or cut short.
            said = next((m.text for m in reversed(history) if m.role == "assistant" and m.text.strip()), None)
            if said is not None:
                return said
        return self._small_talk(question) or self._look_up(question, history)

    def _small_talk(self, question: str) -> str | None:
        if not question:
            return "I did not catch that. Could you say it again?"
        if _GREETING.match(question):
            return "Hello! What would you like to know?"
        if _GOODBYE.match(question):
            return "Goodbye! It was nice talking with you."
        if _THANKS.match(question):
            return "You are welcome. Is there anything else?"
        if _REPEAT.search(question):
            return "I have not said anything yet. What would you like to know?"
        if _HELP.search(question) and self._best(question)[1] < MIN_COVERAGE:
            return f"You can ask me about {self._topics()}."
        return None

    def _look_up(self, question: str, history: Sequence[Message]) -> str:
        question = self._name_days(question)
        passage, coverage = self._best(question)
        previous = [m.text for m in history[:-1] if m.role == "user"]
        # "And on Sunday?" means the previous question with one word changed.
        if previous and (_FOLLOW_UP.match(question) or coverage < MIN_COVERAGE) and len(self._content(question)) <= 2:
            earlier = previous[-1].lower()
            if self._content(question) & {self._stem(day.lower()) for day in _WEEKDAYS}:
                earlier = re.sub("|".join(_WEEKDAYS).lower() + "|today|tomorrow", " ", earlier)
            joined, joined_coverage = self._best(f"{question} {earlier}")
            if joined_coverage >= MIN_COVERAGE and self._content(question):
                passage, coverage = joined, joined_coverage
        if passage is None or coverage < MIN_COVERAGE:
            return f"I am sorry, I do not know that. You can ask me about {self._topics()}."
        return f"{passage.text} That is from: {passage.source}."

    def _best(self, question: str) -> tuple[Passage | None, float]:
        """The best passage and how much of the question's information it contains, 0..1."""
        terms = self._content(question)
        if not terms:
            return None, 0.0
        known = [term for term in terms if term in self._idf]
        if not known:
            return None, 0.0
        scores = np.asarray(self._index.get_scores(known), dtype=np.float64)
        # Among passages that BM25 likes about equally, the one whose question has the same words wins.
        for i, asked in enumerate(self._asked):
            if scores[i] > 0:
                scores[i] *= 1 + 3 * max((self._overlap(terms, q) for q in asked if q), default=0.0)
        best = int(scores.argmax())
        total = sum(self._idf.get(term, self._unknown_idf) for term in terms)
        found = sum(self._idf[term] for term in known if term in self._terms[best])
        return self._passages[best], found / total

    def _overlap(self, a: frozenset[str], b: frozenset[str]) -> float:
        """Jaccard similarity of two sets of terms, weighted by idf, 0..1."""

        def weight(terms: frozenset[str]) -> float:
            return sum(self._idf.get(term, self._unknown_idf) for term in terms)

        return weight(a & b) / weight(a | b)

    def _name_days(self, question: str) -> str:
        today = self._today().weekday()
        for word, day in (("today", today), ("tonight", today), ("tomorrow", (today + 1) % 7)):
            question = re.sub(rf"\b{word}\b", _WEEKDAYS[day], question)
        return question

    def _topics(self) -> str:
        sources = list(dict.fromkeys(p.source.lower() for p in self._passages))[:6]
        return sources[0] if len(sources) == 1 else ", ".join(sources[:-1]) + " or " + sources[-1]

    def _tokens(self, text: str) -> list[str]:
        words = re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower().replace("what time", "when"))
        return [self._stem(word.removesuffix("'s")) for word in words if word not in _STOPWORDS]

    def _content(self, text: str) -> frozenset[str]:
        return frozenset(self._tokens(text))


def create(settings: DialogueSettings) -> Knowledge:
    """Entry point of the group `visavis.dialogue`."""
    return Knowledge(settings)
