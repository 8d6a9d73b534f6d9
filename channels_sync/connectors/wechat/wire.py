"""How WeChat's server interface is called (``channels.md`` 6a): a token in the query, JSON in
the body, ``errcode`` in the answer. Shops and mini-programs share it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import (
    endpoint,
    exchange,
    parse_reply,
    platform_error,
    raise_refusal,
    reading_reply,
    refuse_client_error,
)
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.connectors.values import Node
from channels_sync.contracts import ErrorClass, PlatformError, Rejected, Tokens, TryLater

TOKEN_PATH: Final = "/cgi-bin/stable_token"  # noqa: S105 - a path
_STALE: Final = (40001, 40014, 41001, 42001)
_AUTH: Final = (*_STALE, 40013, 40125, 40164, 48001, 61004)
ERRORS: Final[Mapping[int, ErrorClass]] = {
    **dict.fromkeys(_AUTH, ErrorClass.AUTH),
    **dict.fromkeys((45009, 45011), ErrorClass.RATE_LIMITED),
    -1: ErrorClass.PLATFORM,
}
"""What is not named here is the caller's own mistake."""


class WeChatLine(BaseConnector):
    """One application's calls. ``app_key`` is its AppID, ``app_secret`` its AppSecret."""

    stale_token_codes: ClassVar[frozenset[str]] = frozenset(map(str, _STALE))

    @property
    def wechat_url(self) -> str:
        """Where WeChat answers: the option ``wechat_url`` where the shop's address is another."""
        return self.access.options.get("wechat_url", self.access.base_url)

    def post(self, path: str, body: Mapping[str, Any], *, writes: bool = False) -> Node:
        """Call with the application's token and return the answer; TryLater or Rejected."""
        return self.with_token(lambda: self._with_token(path, body, writes=writes))

    def _with_token(self, path: str, body: Mapping[str, Any], *, writes: bool) -> Node:
        token = self.access.access_token
        if not token:
            words = "还没有 access_token"
            raise Rejected(PlatformError(ErrorClass.AUTH, str(_STALE[2]), words))
        return self._send(path, body, token=token, writes=writes)

    def _send(
        self, path: str, body: Mapping[str, Any], *, token: str = "", writes: bool = False
    ) -> Node:
        request = self.client.build_request(
            "POST",
            endpoint(self.wechat_url, path),
            params={"access_token": token} if token else None,
            content=dump_compact(body),
            headers={"Content-Type": "application/json"},
        )
        with self.calling(path):
            reply = exchange(self.client, request, writes=writes)
            refuse_client_error(reply)
            with reading_reply(writes=writes):
                answer = Node.of(parse_reply(reply.body, writes=writes))
                error = wechat_error(answer)
                if error is not None:
                    raise_refusal(error, writes=writes)
                return answer

    def refresh(self, refresh_token: str) -> Tokens:
        """Get a token that is not the one at hand; there is no refresh token, the secret does.

        ``stable_token`` gives the same token until it ends. One that was withdrawn before is
        forced anew, which WeChat allows 20 times a day and 30 s apart.
        """
        tokens = self._stable_token(fresh=False)
        if tokens.access_token != self.access.access_token:
            return tokens
        return self._stable_token(fresh=True)

    def exchange_code(self, code: str) -> Tokens:
        """The application's own secret is all the authorization there is; ``code`` is unused."""
        return self._stable_token(fresh=False)

    def _stable_token(self, *, fresh: bool) -> Tokens:
        answer = self._send(
            TOKEN_PATH,
            {
                "grant_type": "client_credential",
                "appid": self.access.app_key,
                "secret": self.access.app_secret,
                "force_refresh": fresh,
            },
        )
        token = answer.text("access_token")
        if not token:
            raise TryLater(platform_error("bad_body", "微信没有给出 access_token"))
        with reading_reply():
            seconds = answer.whole("expires_in", default=0)
        return Tokens(token, expires_at=self.now() + timedelta(seconds=seconds))


def wechat_error(answer: Node) -> PlatformError | None:
    """The refusal in an answer; a good token has no ``errcode`` at all. Raises Unreadable."""
    code = answer.whole("errcode", default=0)
    if code == 0:
        return None
    klass = ERRORS.get(code, ErrorClass.BUSINESS)
    return PlatformError(klass, str(code), answer.text("errmsg"))


def refused(code: str, words: str) -> Rejected:
    return Rejected(PlatformError(ErrorClass.BUSINESS, code, words))
