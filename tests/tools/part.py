"""Run one part of ``make test`` and say in one line how it went; add up all parts at the end.

Usage: part.py run NAME COMMAND... | summary EXIT_STATUS

``run`` keeps the command's output in .build/log/NAME.log, prints one line with the result, the duration and
the totals of pytest where there are any, and the whole log on failure; it exits as the command did. Commands
find the file for pytest's totals in PYTEST_ADDOPTS. ``summary`` prints what all parts came to, with the
tests of all pytest runs in the last line, and exits with EXIT_STATUS, or 1 where a part failed or none ran.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

LOGS = Path(__file__).resolve().parents[2] / ".build" / "log"


def run(name: str, command: list[str]) -> int:
    """Run the command as the part called name and return its exit status."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log, totals, result = (LOGS / f"{name}{suffix}" for suffix in (".log", ".xml", ".result"))
    totals.unlink(missing_ok=True)
    environment = {**os.environ, "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junit-xml={totals}"}
    started = time.monotonic()
    with log.open("w") as output:
        status = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    seconds = time.monotonic() - started
    result.write_text(str(status))
    counts = f"  {describe(count_tests(totals))}" if totals.exists() else ""
    print(f"  {'failed' if status else 'ok':6} {name:18} {seconds:6.1f} s{counts}", flush=True)
    if status:
        print(f"---- {name}: exit status {status}; the whole log ----")
        with log.open(errors="replace") as output:
            shutil.copyfileobj(output, sys.stdout)
        print(f"---- end of {name} ----", flush=True)
    return status


def count_tests(totals: Path) -> Counter[str]:
    """Return how many tests passed, failed and were skipped, read from what pytest wrote for this part."""
    counts: Counter[str] = Counter()
    for suite in ElementTree.parse(totals).getroot().iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        passed = int(suite.get("tests", 0)) - failed - skipped
        counts += Counter(passed=passed, failed=failed, skipped=skipped)
    return counts


def describe(counts: Counter[str]) -> str:
    """Return the counts in the words that pytest uses."""
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{counts['passed']} passed, {counts['failed']} failed{skipped}"


def summarise(status: int) -> int:
    """Print what all parts came to and return the exit status of the whole run."""
    results = {path.stem: int(path.read_text()) for path in sorted(LOGS.glob("*.result"))}
    failed = [name for name, code in results.items() if code]
    tests: Counter[str] = Counter()
    for name, code in results.items():
        totals = LOGS / f"{name}.xml"
        counts = count_tests(totals) if totals.exists() else Counter[str]()
        # A part that failed otherwise than by a test, a linter for one, counts as one that failed.
        tests += counts if counts["failed"] or not code else counts + Counter(failed=1)
    print(f"\nparts: {len(results) - len(failed)} ok, {len(failed)} failed", *failed)
    print(describe(tests))
    return status or int(bool(failed) or not results)


def main() -> int:
    """Run the command given on the command line and return the exit status."""
    match sys.argv[1:]:
        case ["run", name, *command] if command:
            return run(name, command)
        case ["summary", status]:
            return summarise(int(status))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
