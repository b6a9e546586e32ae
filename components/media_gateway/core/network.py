"""Why a server can't be reached, in words for a person: no class of Python, no password, no address but the one given.

Called by the adapters that open connections.
"""

import os
import re
import socket
import ssl

_NUMBER = re.compile(r"\[Errno (\d+)\]")


def why_unreachable(error: BaseException) -> str:
    """The reason of a failed connection, to stand after "… can't be reached: "."""
    if isinstance(error, socket.gaierror):
        return "its name can't be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as we do"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _NUMBER.search(str(error))):
        # Several addresses of one name were tried; asyncio tells their failures in one text only.
        number = int(found[1])
    return "the connection broke" if number is None else os.strerror(number).lower()
