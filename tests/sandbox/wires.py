"""Callers of the stand-ins that push, carry and listen, and a center that only takes notes."""

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx

from ordercenter.sandbox.outgoing import Outgoing
from tests.sandbox.callers import Bench

REFERENCE = Path(__file__).parent.parent / "data" / "reference"
PAYLOADS = REFERENCE / "payloads"


def sample(path: str) -> Any:
    """A captured payload, such as ``douyin/order_searchList_page.json``."""
    return json.loads((PAYLOADS / path).read_text(encoding="utf-8"))


def vector(vector_id: str) -> dict[str, Any]:
    for name in ("signing_vectors.json", "signing_vectors_carriers.json"):
        facts = json.loads((REFERENCE / name).read_text(encoding="utf-8"))
        for row in facts if isinstance(facts, list) else facts["vectors"]:
            if row["id"] == vector_id:
                return dict(row)
    raise LookupError(vector_id)


def gaps(wanted: Any, given: Any, path: str = "$") -> list[str]:
    """Where ``given`` lacks a key of ``wanted`` or holds another kind of value.

    Null on either side says nothing of the kind. Of a list every entry is held against the
    first one of the sample.
    """
    if wanted is None or given is None:
        return []
    if isinstance(wanted, dict):
        if not isinstance(given, dict):
            return [f"{path}: not an object"]
        found = [f"{path}.{key}: missing" for key in wanted if key not in given]
        for key in wanted.keys() & given.keys():
            found += gaps(wanted[key], given[key], f"{path}.{key}")
        return found
    if isinstance(wanted, list):
        if not isinstance(given, list):
            return [f"{path}: not a list"]
        rows = enumerate(given) if wanted else ()
        return [gap for n, row in rows for gap in gaps(wanted[0], row, f"{path}[{n}]")]
    number = (int, float)
    same = type(wanted) is type(given)
    both_numbers = isinstance(wanted, float) and isinstance(given, number)
    return [] if same or both_numbers else [f"{path}: {type(given).__name__}"]


def call(bench: Bench, method: str, url: str, **sent: Any) -> httpx.Response:
    """Call the sandbox with headers and bytes as they stand."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(bench.sandbox.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
            return await client.request(method, url, **sent)

    return asyncio.run(ask())


class Center:
    """Takes pushes, keeps them, and says what it is told to say."""

    def __init__(self, say: Any = None, status: int = 200) -> None:
        self.say = {"ok": True} if say is None else say
        self.status = status
        self.heard: list[httpx.Request] = []

    def take(self, outgoing: Outgoing) -> int:
        """Let everything that is due arrive."""

        def answer(request: httpx.Request) -> httpx.Response:
            self.heard.append(request)
            return httpx.Response(self.status, json=self.say)

        async def send() -> int:
            async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
                return await outgoing.send_due(client)

        return asyncio.run(send())

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.heard]


def pusher_of(bench: Bench, module: str) -> Any:
    return next(p for p in bench.sandbox.pushers if type(p).__module__.endswith(module))


# Douyin


def douyin_text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def douyin_sign(secret: str, query: Mapping[str, str], body: str) -> str:
    text = (
        f"{secret}app_key{query['app_key']}method{query['method']}param_json{body}"
        f"timestamp{query['timestamp']}v{query['v']}{secret}"
    )
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def douyin(
    bench: Bench, path: str, params: Mapping[str, Any] | str, **query: str
) -> dict[str, Any]:
    """Call an interface; ``query`` is signed with the rest."""
    shop = bench.shop("DY01")
    body = params if isinstance(params, str) else douyin_text(params)
    sent = {
        "app_key": shop.app_key,
        "method": path.strip("/").replace("/", "."),
        "access_token": shop.access_token,
        "timestamp": str(int(bench.clock.now)),
        "v": "2",
        "sign_method": "hmac-sha256",
    } | query
    sent["sign"] = douyin_sign(shop.app_secret, sent, body)
    reply = call(bench, "POST", f"/douyin{path}?{urlencode(sent)}", content=body.encode())
    assert reply.status_code == 200
    facts: dict[str, Any] = reply.json()
    return facts


# Shopify


def graphql(bench: Bench, query: str, **variables: Any) -> dict[str, Any]:
    reply = call(
        bench,
        "POST",
        "/shopify/admin/api/2026-04/graphql.json",
        json={"query": query, "variables": variables},
        headers={"X-Shopify-Access-Token": bench.shop("SH01").access_token},
    )
    assert reply.status_code == 200
    facts: dict[str, Any] = reply.json()
    return facts


# Mini-program


def crm(bench: Bench, path: str, *, timestamp: int | None = None, **query: Any) -> httpx.Response:
    url = f"/miniprogram{path}" + (f"?{urlencode(query)}" if query else "")
    at = str(int(bench.clock.now) if timestamp is None else timestamp)
    secret = bench.shop("MP01").app_secret
    signature = hmac.new(secret.encode(), f"{at}.{url}".encode(), hashlib.sha256).hexdigest()
    headers = {"X-Event-Id": "read", "X-Timestamp": at, "X-Signature": signature}
    return call(bench, "GET", url, headers=headers)


# SF


def sf_digest(text: str, timestamp: str, checkword: str) -> str:
    encoded = quote_plus(text + timestamp + checkword, safe="*").replace("~", "%7E")
    return base64.b64encode(hashlib.md5(encoded.encode(), usedforsecurity=False).digest()).decode()


def sf(bench: Bench, service: str, message: Any, **changed: str) -> dict[str, Any]:
    """The gateway's answer; ``changed`` goes over what was signed."""
    account = bench.seller.couriers[0]
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    timestamp = changed.get("timestamp", str(int(bench.clock.now * 1000)))
    sent = {
        "partnerID": account["partner_id"],
        "requestID": str(uuid.uuid4()),
        "serviceCode": service,
        "timestamp": timestamp,
        "msgDigest": sf_digest(text, timestamp, account["checkword"]),
        "msgData": text,
    } | changed
    reply = call(bench, "POST", "/sf/std/service", data=sent)
    assert reply.status_code == 200
    facts: dict[str, Any] = reply.json()
    return facts


def sf_inner(bench: Bench, service: str, message: Any) -> dict[str, Any]:
    """The business answer inside the gateway's."""
    outer = sf(bench, service, message)
    assert outer["apiResultCode"] == "A1000"
    facts: dict[str, Any] = json.loads(outer["apiResultData"])
    return facts
