"""A proof: what is on record of one object, with the way from each record to a signed seal.

``evidence`` reads the database; ``problems`` needs nothing but the document and the public keys
that are trusted, so that anybody can check a file years later on any machine.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from ordercenter.audit import chain, merkle, seals, signing
from ordercenter.audit.models import Action
from ordercenter.audit.services import COLUMNS

FORMAT: Final = "ordercenter-proof/1"
DECISIONS: Final = frozenset(
    {Action.RELEASE_ASKED, Action.RELEASE_REFUSED, Action.HOLD_RELEASED, Action.RULES_ACTIVATED}
)
_NAMES: Final = ("id", *COLUMNS)
Document = dict[str, Any]


class NotSealed(Exception):
    """Some record of the object has no seal yet: link and seal, then ask again."""


def evidence(object_type: str, object_id: int, *, records: int) -> Document:
    """The records of one object in the order of the chain, and the seals that cover them.

    ``records`` is how many there must be. Raises NotSealed when there are fewer with a place
    under a seal.
    """
    links = chain.links_of(object_type, object_id)
    known = seals.in_database()
    end = known[-1]["last_seq"] if known else 0
    covered = [link for link in links if link.seq <= end]
    if len(covered) < records or not covered:
        raise NotSealed
    told, used, ranges = [], [], iter(known)
    seal = next(ranges)
    row: list[bytes] = []
    for link in covered:
        while seal["last_seq"] < link.seq:
            seal, row = next(ranges), []
        row = row or chain.hashes(seal["first_seq"], seal["last_seq"])
        way = merkle.way_up(row, link.seq - seal["first_seq"])
        used.append(seal["number"])
        told.append(
            {
                "seq": link.seq,
                "stream": link.stream,
                "previous": link.previous.hex(),
                "hash": link.hash.hex(),
                "text": link.text,
                "seal": seal["number"],
                "way": [[side, other.hex()] for side, other in way],
            }
        )
    return {"records": told, "seals": [one for one in known if one["number"] >= min(used)]}


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record of a proof says, by the names of its columns; its time in seconds."""
    found: dict[str, Any] = dict(zip(_NAMES, json.loads(record["text"]), strict=True))
    found["change"] = json.loads(found["change"])
    return found


def decisions_of(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who asked, refused, released or activated, when and why."""
    names = (
        "version", "action", "actor_kind", "actor_id", "actor_name", "actor_role", "reason",
        "created_at",
    )  # fmt: skip
    told = [facts_of(record) for record in records]
    return [{name: one[name] for name in names} for one in told if one["action"] in DECISIONS]


def _signed_part(document: Mapping[str, Any]) -> bytes:
    said = {name: value for name, value in document.items() if name != "signature"}
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def fingerprint(document: Mapping[str, Any]) -> str:
    """The hash of everything a proof says but its signature."""
    return hashlib.sha256(_signed_part(document)).hexdigest()


def hash_of_text(text: str) -> str:
    """To name a whole by, where only a part of it is in the proof."""
    return hashlib.sha256(text.encode()).hexdigest()


def signed(document: Mapping[str, Any]) -> Document:
    """The document with our key and signature."""
    whole = {**document, "format": FORMAT, "key": signing.public_key()}
    return {**whole, "signature": signing.sign(_signed_part(whole))}


def problems(document: Any, keys: Collection[str]) -> list[str]:
    """What is wrong with a proof, in words; empty when all of it holds. Never raises.

    ``keys`` are the public keys that are trusted, in hex.
    """
    try:
        return list(_problems(document, frozenset(keys)))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        return [f"文件不完整或无法读取：{type(error).__name__}"]


def _problems(document: Document, keys: frozenset[str]) -> Iterator[str]:
    if document["format"] != FORMAT:
        yield f"不是审批证明文件：{str(document['format'])[:40]}"
        return
    if document["key"] not in keys:
        yield "签名所用公钥不受信任"
    key, signature = document["key"], document["signature"]
    if not signing.is_signed(_signed_part(document), key=key, signature=signature):
        yield "文件签名不符，内容被改动过"
    records, sealed = document["records"], document["seals"]
    if not records or not sealed:
        yield "文件中没有记录或没有封签"
        return
    yield from _seal_problems(sealed, keys)
    yield from _record_problems(records, {seal["number"]: seal for seal in sealed})
    if document["decisions"] != decisions_of(records):
        yield "决定列表与记录不符"


def _seal_problems(sealed: Sequence[Mapping[str, Any]], keys: frozenset[str]) -> Iterator[str]:
    before: Mapping[str, Any] | None = None
    for seal in sealed:
        if not seals.is_genuine(seal, keys):
            yield f"封签 #{seal['number']} 不是受信任的密钥签发，或被改动过"
        if before and (seal["number"], seal["first_seq"], seal["previous_hash"]) != (
            before["number"] + 1,
            before["last_seq"] + 1,
            before["hash"],
        ):
            yield f"封签 #{seal['number']} 与前一封签接不上"
        before = seal


def _record_problems(
    records: Sequence[Mapping[str, Any]], sealed: Mapping[int, Mapping[str, Any]]
) -> Iterator[str]:
    subjects, seqs, versions = set(), [], []
    for record in records:
        where = f"记录 #{record['seq']}"
        own = bytes.fromhex(record["hash"])
        if chain.digest(bytes.fromhex(record["previous"]), record["text"]) != own:
            yield f"{where} 内容与哈希不符"
        seal = sealed[record["seal"]]
        steps = [(side, bytes.fromhex(other)) for side, other in record["way"]]
        inside = seal["first_seq"] <= record["seq"] <= seal["last_seq"]
        if not inside or merkle.climb(own, steps).hex() != seal["root"]:
            yield f"{where} 不在封签 #{record['seal']} 之内"
        facts = facts_of(record)
        subjects.add((facts["object_type"], facts["object_id"]))
        seqs.append(record["seq"])
        versions.append(facts["version"])
    if len(subjects) != 1:
        yield "记录不属于同一对象"
    if seqs != sorted(set(seqs)):
        yield "记录次序不符"
    counted = [version for version in versions if version is not None]
    if counted != list(range(1, len(counted) + 1)):
        yield "版本号不连续，有记录缺失"
