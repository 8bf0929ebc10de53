"""The shapes of ASGI, as the doors of the house pass them about."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


async def put(send: Send, message: Message, seconds: float) -> None:
    """Send it; raises ``TimeoutError`` when the reader takes nothing for so long."""
    async with asyncio.timeout(seconds):
        await send(message)
