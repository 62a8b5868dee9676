"""Who asks for kept rows once more: an operator (`resend`), or a consumer on B/in/replay that sees a gap.

What arrives on B/in/replay is written by strangers. Laws:

1. It is bounded before it is read: REQUEST_LIMIT bytes, RANGE_LIMIT sequences, REQUESTS a minute, one at a time.
   (Beyond 64 KiB the broker itself throws it away; beyond 20 unread ones mqtt.py does, and says how many.)
2. The answer goes to B/replay alone, never to a topic that the asker names: it could name one that a chart files from.
3. Nothing of a request but numbers, a UUID and a short printable word is repeated, in no log either.
4. A request too many is counted; the first of them in a minute is answered, the others are not.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial
from uuid import UUID

from gateway import kept, states
from gateway.clock import Clock
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.publisher import Publisher
from gateway.replays import Job, Replays
from gateway.selection import Selection
from gateway.store import DatabaseError
from gateway.traces import BadQuestion, time_of, uuid_of

_log = logging.getLogger(__name__)

REQUEST_LIMIT = 2048  # bytes
RANGE_LIMIT = 1000  # sequences in one request of a consumer
REQUESTS, PER_S = 6, 60.0
WORD_LIMIT = 64
IDS_LIMIT = 1000  # of one `resend`
LARGEST = 2**63 - 1  # what SQLite takes for a number


class Refused(Exception):
    """A consumer's request that is not done; `str()` is the reason's code."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a consumer asks for: sequences from `first` to `last` of a stream; `word` comes back in the answers."""

    stream: UUID
    first: int
    last: int
    word: str | None = None


def parse(payload: bytes) -> Request:
    """Read a request. Raises Refused: `oversized`, `malformed`, `range_too_long`."""
    if len(payload) > REQUEST_LIMIT:
        raise Refused("oversized")
    try:
        members = json.loads(payload)
    except (ValueError, RecursionError):
        raise Refused("malformed") from None
    if not isinstance(members, dict):
        raise Refused("malformed")
    first, last, word = members.get("from"), members.get("to"), members.get("request")
    try:
        stream = uuid_of(members.get("stream"))
    except BadQuestion:
        raise Refused("malformed") from None
    if type(first) is not int or type(last) is not int or not 1 <= first <= last <= LARGEST:
        raise Refused("malformed")
    if word is not None and not (isinstance(word, str) and len(word) <= WORD_LIMIT and word.isprintable()):
        raise Refused("malformed")
    if last - first >= RANGE_LIMIT:
        raise Refused("range_too_long")
    return Request(stream, first, last, word)


class Requests:
    """Takes requests from both sides; answers go out as events do."""

    def __init__(
        self, origin: Origin, outbox: Outbox, publisher: Publisher, clock: Clock, zone: tzinfo, *, can_mark: bool
    ) -> None:
        """`can_mark`: MQTT 5, which has user properties. `zone`: of a time that is asked for without one."""
        self.counts: Counter[str] = Counter()  # requests on B/in/replay: `accepted`, or refused and why
        self.refused: str | None = None  # why the broker does not let us listen
        self._origin = origin
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._zone = zone
        self._can_mark = can_mark
        self._is_selecting = False  # the disk is asked for a consumer's rows; it may not answer for hours
        self._window_began = float("-inf")
        self._in_window = 0

    def change(self, zone: tzinfo, *, can_mark: bool) -> None:
        """Go by these from now on."""
        self._zone, self._can_mark = zone, can_mark

    @property
    def _replays(self) -> Replays:
        return self._publisher.replays

    # ---- a consumer --------------------------------------------------------------------------------------------------

    def listening(self, refused: str | None) -> None:
        """Take note of whether the broker lets us subscribe to B/in/replay."""
        if refused is not None and refused != self.refused:
            _log.warning(
                "the broker does not let us listen on %s (%s): check its access rules",
                states.replay_request_topic(self._origin),
                refused,
            )
        self.refused = refused

    def take(self, payload: bytes, thrown_away: int) -> None:
        """Take a message of B/in/replay. It never raises for what stands in it."""
        if thrown_away:
            self.counts["too_many_requests"] += thrown_away
        now = self._clock.now().monotonic
        if now - self._window_began >= PER_S:
            self._window_began, self._in_window = now, 0
        self._in_window += 1
        if self._in_window > REQUESTS:
            self.counts["too_many_requests"] += 1
            if self._in_window == REQUESTS + 1:
                self._answer(None, "refused", reason="too_many_requests")
            return
        request = None
        try:
            request = parse(payload)
            if request.stream != self._outbox.stream:
                raise Refused("other_stream")
            if self._is_selecting or self._replays.is_busy("consumer"):
                raise Refused("busy")
        except Refused as refusal:
            self.counts[str(refusal)] += 1
            self._answer(request, "refused", reason=str(refusal))
            return
        self.counts["accepted"] += 1
        self._is_selecting = True
        work = partial(kept.select_range, first=request.first, last=request.last)
        self._outbox.fetch(work, partial(self._start, request))

    def _start(self, request: Request, selection: Selection) -> None:
        self._is_selecting = False
        self._answer(request, "accepted", selection=selection)
        self._replays.start("consumer", selection.sequences, partial(self._done, request))

    def _done(self, request: Request, job: Job) -> None:
        self._answer(request, "done", said=job.said)

    def _answer(
        self,
        request: Request | None,
        state: str,
        *,
        reason: str | None = None,
        selection: Selection | None = None,
        said: Mapping[str, int] | None = None,
    ) -> None:
        payload = states.replay(
            replace(self._origin, stream=self._outbox.stream),
            at=self._clock.now().utc,
            state=state,
            reason=reason,
            request=None if request is None else (request.first, request.last, request.word),
            selection=selection,
            said=said,
        )
        self._publisher.publish_event(states.replay_topic(self._origin), payload)

    # ---- an operator -------------------------------------------------------------------------------------------------

    async def resend(self, question: Mapping[str, object]) -> dict[str, object]:
        """Answer `resend`: {"since"}, {"from", "to"} or {"ids"}; `unmarked` where MQTT 3.1.1 has no mark."""
        try:
            select = self._selection_of(question)
            if not self._can_mark and question.get("unmarked") is not True:
                raise BadQuestion(
                    "MQTT 3.1.1 cannot mark what is sent again as replayed: use broker.protocol 5, or say --unmarked if"
                    " every consumer keeps ids and files nothing by itself"
                )
            selection = await self._outbox.ask(select)
            if self._replays.is_busy("operator"):
                left = self._replays.left()["operator"]
                raise BadQuestion(f"an earlier resend is under way: {left} rows are left (vitals-gateway status)")
        except BadQuestion as error:
            return {"error": str(error)}
        except DatabaseError as error:
            return {"error": f"the outbox cannot be read ({error}): check the disk"}
        _log.info("an operator had %d kept readings sent again", len(selection.sequences))
        self._replays.start("operator", selection.sequences, _log_done, marked=self._can_mark)
        return {
            "sent_again": len(selection.sequences),
            "waiting": selection.waiting,
            "gone": selection.gone,
            "never": selection.never,
            "unknown": [str(reading) for reading in selection.unknown],
            "connected": self._publisher.state.connected_to is not None,
        }

    def _selection_of(self, question: Mapping[str, object]) -> Callable[..., Selection]:
        ids, first, last = question.get("ids"), question.get("from"), question.get("to")
        if isinstance(ids, list) and 1 <= len(ids) <= IDS_LIMIT:
            return partial(kept.select_ids, readings=[uuid_of(reading) for reading in ids])
        if isinstance(first, int) and isinstance(last, int):
            if not 1 <= first <= last <= LARGEST:
                raise BadQuestion("sequences go from 1 up: --sequence 200..250")
            return partial(kept.select_range, first=first, last=last)
        if "since" in question:
            return partial(kept.select_since, kept_at=time_of(question["since"], self._zone))
        raise BadQuestion(f"name a time, a range of sequences, or at most {IDS_LIMIT} ids")

    def members(self) -> dict[str, object]:
        """Answer how it stands, for `status`."""
        return {
            "listening": self.refused is None and self._can_mark,
            "refused": self.refused,
            "requests": dict(self.counts),
            "left": self._replays.left(),
            "said": dict(self._replays.said),
        }


def _log_done(job: Job) -> None:
    said = ", ".join(f"{reason} {count}" for reason, count in sorted(job.said.items()))
    _log.info("sent again: %d readings (%s)", job.total, said or "none")
