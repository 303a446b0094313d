"""Make the pictures of docs/images: the first page of the audit's HTML report, before and after, of a real run.

Usage, as root, because the lab needs it, with chromium installed:

    mkdir reports
    AUDIT_REPORTS=$PWD/reports .build/venv/dev/bin/python -m pytest tests/lab/test_from_upstream.py
    .build/venv/dev/bin/python tests/tools/screenshots.py reports

A picture is refused if it is larger than what belongs into an artifact.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SIZE = {"audit-before": (1200, 1000), "audit-after": (1200, 1000)}
"""Width and height in pixels of each picture, by the report's name."""
LARGEST = 300_000
"""Bytes."""
CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-lcd-text"]
LIGHT = "--blink-settings=preferredColorScheme=1"


def main() -> None:
    """Make them."""
    (reports,) = (Path(argument).resolve() for argument in sys.argv[1:])
    IMAGES.mkdir(exist_ok=True)
    for name, (width, height) in SIZE.items():
        picture = IMAGES / f"{name}.png"
        command = [*CHROMIUM, LIGHT, f"--window-size={width},{height}", f"--screenshot={picture}"]
        page = (reports / f"{name}.html").as_uri()
        subprocess.run([*command, page], check=True, timeout=120, stderr=subprocess.DEVNULL)
        size = picture.stat().st_size
        if size > LARGEST:
            sys.exit(f"{picture}: {size} bytes, more than {LARGEST}")
        print(f"{picture}: {size} bytes")


if __name__ == "__main__":
    main()
