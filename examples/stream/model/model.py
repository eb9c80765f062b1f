"""A generator: each piece goes to the caller as soon as it is made."""

import asyncio


class Model:
    async def predict(self, request):
        for number in range(request.get("count", 5)):
            yield f"{number}\n"
            await asyncio.sleep(request.get("delay_seconds", 0.2))
