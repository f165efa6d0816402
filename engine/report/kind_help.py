"""What each kind of failure means for whoever asked for the videos, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.model import Kind


@dataclass(frozen=True, slots=True)
class Meaning:
    """`means` completes a sentence about the video, `advice` says what to do; `again`: whether a retry can help."""

    means: str
    advice: str
    again: bool = False


MEANINGS: dict[str, Meaning] = {
    Kind.UNAVAILABLE: Meaning("removed, never there, or its account is gone", "nothing to be done"),
    Kind.PRIVATE: Meaning("its owner keeps it private", "nothing to be done"),
    Kind.MEMBERS_ONLY: Meaning("for members of a channel, or for money", "nothing to be done"),
    Kind.AGE_RESTRICTED: Meaning(
        "shown only after a login, which engine does not have", "nothing to be done"
    ),
    Kind.REGION_BLOCKED: Meaning(
        "not shown in the country the requests came from", "retry with a proxy in another country"
    ),
    Kind.NO_CAPTIONS: Meaning(
        "it has no captions; a second look agreed", "captions may come: retry in some weeks"
    ),
    Kind.NO_LANGUAGE: Meaning(
        "it has captions, but in none of the languages asked for",
        "the messages say in which; a queue of its own with `-l any` takes them",
    ),
    Kind.NETWORK: Meaning(
        "no connection, or it was cut, again and again", "look at the network, retry", True
    ),
    Kind.PROXY: Meaning(
        "the proxy could not be reached, or found no way", "try `engine proxies check`, retry", True
    ),
    Kind.TIMEOUT: Meaning("no end within the deadline", "retry, perhaps with a longer --deadline", True),
    Kind.SERVER_ERROR: Meaning(
        "YouTube answered with an error", "retry; if it is 400 for all, update yt-dlp", True
    ),
    Kind.GARBLED: Meaning(
        "an empty or unreadable answer, or one from a foreign host", "retry; if many, update yt-dlp", True
    ),
    Kind.TOO_LARGE: Meaning("an answer of more than 32 MiB", "nothing to be done"),
    Kind.PO_TOKEN: Meaning(
        "captions only for programs that carry a proof-of-origin token",
        "update yt-dlp and youtube-transcript-api, retry another day; or `--ways android,yt-dlp` with a PO-token "
        "provider in `--ytdlp-options`",
        True,
    ),
    Kind.TRANSLATION_REFUSED: Meaning(
        "YouTube refuses to translate its captions, as it does nearly always",
        "take captions as they are: a queue of its own without --translate",
        True,
    ),
    Kind.NOT_YET: Meaning("a premiere or a live event that is still to come", "retry when it is over", True),
    Kind.BLOCKED: Meaning(
        "this video was refused while others passed", "retry another day, or by another proxy", True
    ),
    Kind.KEPT: Meaning(
        "a file that this queue did not write has its name, and stays",
        "`engine run --replace` fetches it and replaces that file; a new queue with another -o keeps both",
    ),
    Kind.POISON: Meaning(
        "its process died each time it was in flight", "tell its id to whoever maintains this program"
    ),
    Kind.UNKNOWN: Meaning("none of the above; the message quotes YouTube", "read the message, retry", True),
}

# Events in words for readers who do not know how a run works. Unknown ones keep their names.
EVENTS: dict[str, str] = {
    "block": "an egress was refused by YouTube",
    "network_lost": "an egress lost its connection",
    "egress_retired": "an egress was set aside",
    "shared_limit": "proxies of one subnet were refused together, and share one rate from then on",
    "shared_limit_ended": "proxies that shared one rate have one each again",
    "slot_died": "a worker process died and was replaced",
    "monitor_died": "the process that keeps the manifest died and was replaced",
    "worker_silent": "a worker process stood still and was replaced",
    "monitor_silent": "the process that keeps the manifest did not answer and was replaced",
    "lister_silent": "the process that lists channels did not answer and was replaced",
    "lister_died": "the process that lists channels died and was replaced",
    "listed": "a source was listed",
    "listing_waits": "a source could not be listed and is tried again later",
    "listing_failed": "a source could not be listed",
    "disk_low": "the disk was nearly full",
    "budget_stuck": "a process that hangs or is stopped held up the others",
    "budget_removed": "something removed the budget file again and again",
    "no_captions_jump": "suspiciously many videos without captions",
    "no_captions_block": "a hidden block: videos without captions were fetched again",
    "no_captions_believed": "videos without captions were looked at again and believed",
    "no_captions_unclear": "videos without captions, and none to compare with",
    "way_off": "a way to ask YouTube stopped working, others took its place",
    "way_on": "a way to ask YouTube works again",
    "ways_dead": "no way to ask YouTube worked",
    "mask_off": "asking for needed fields only changed an answer, so all were asked for",
    "stop": "a run was ended early",
}
OTHER = Meaning("a kind that this version does not know", "`engine failures` shows the messages")
