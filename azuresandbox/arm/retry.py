"""The headers by which ARM tells clients how long to wait."""

from __future__ import annotations

from azuresandbox.context import Sandbox


def after(sandbox: Sandbox, seconds: float) -> dict[str, str]:
    """Return the header `Retry-After: seconds` of the real system, scaled as the clock.

    Below a second only the headers in milliseconds can express it; azure-core reads them only when `Retry-After` is absent.
    """
    delay = sandbox.clock.poll_after(seconds)
    milliseconds = str(round(delay * 1000))
    found = {"retry-after-ms": milliseconds, "x-ms-retry-after-ms": milliseconds}
    return {"Retry-After": str(round(delay)), **found} if delay >= 1 else found
