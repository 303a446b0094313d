"""A client that sends spans one after the other, each until it is accepted, until a file called stop is there.

Usage: client.py URL CA_FILE KEY FOLDER; writes into FOLDER `accepted`, how many spans were, and `refused`, how many
attempts were not.
"""

import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path

url, authority, key, folder = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
context = ssl.create_default_context(cafile=authority)
accepted = refused = 0
while not (folder / "stop").exists():
    number = accepted + 1
    span = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": f"rotation-{number}", "kind": 1}
    span |= dict.fromkeys(("startTimeUnixNano", "endTimeUnixNano"), str(time.time_ns()))
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "Authorization": key})
    try:
        urllib.request.urlopen(request, timeout=5, context=context).read()
        accepted += 1
    except OSError:
        refused += 1
    time.sleep(0.05)
(folder / "refused").write_text(str(refused))
(folder / "accepted").write_text(str(accepted))
