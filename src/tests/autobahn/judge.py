"""Reads what Autobahn|Testsuite reports, says which cases are not as they should be, and counts.

    judge.py RESULTS KNOWN ROLE...

RESULTS/ROLE/GROUP/ holds a group of cases of one role: their ids in `selected`, the exit code of what ran them in
`ended`, and the suite's reports. KNOWN is how many cases each role has to have; 0 if that is not known.
"""

import collections
import json
import pathlib
import sys

# What the suite leaves open to an implementation it calls informational.
RIGHT = {"OK", "INFORMATIONAL"}


def read(file, default):
    """Returns a report; empty if it is missing or cut off, so that its cases count as missing."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return default


def description(group, result):
    lines = read(group / result["reportfile"], {}).get("description", "").splitlines()
    return lines[0] if lines else ""


def of_group(role, group, counts):
    """The failures of one group; `counts` has how often each behavior came."""
    selected = (group / "selected").read_text().split()
    reports = read(group / "index.json", {})
    reported = next(iter(reports.values()), {})
    failures = []
    for case in selected:
        result = reported.get(case)
        if result is None:
            counts["not reported"] += 1
            failures.append(f"{role} {case}: not reported")
            continue
        behavior, close = result["behavior"], result["behaviorClose"]
        counts[behavior if behavior not in RIGHT or close in RIGHT else f"close {close}"] += 1
        if not {behavior, close} <= RIGHT:
            failures.append(f"{role} {case}: {behavior}, close {close}: {description(group, result)}")
    failures += [f"{role} {case}: reported, and not selected" for case in sorted(set(reported) - set(selected))]
    if len(reports) > 1:
        failures.append(f"{role} {group.name}: reports of {len(reports)} agents: {', '.join(sorted(reports))}")
    ended = (group / "ended").read_text().strip() if (group / "ended").exists() else "never"
    if ended != "0":
        failures.append(f"{role} {group.name}: ended with {ended}; see {group}")
    return failures


def of_role(results, role, known):
    counts = collections.Counter()
    failures = []
    for group in sorted((results / role).glob("*")):
        failures += of_group(role, group, counts)
    cases = sum(counts.values())
    if cases == 0 or known not in (0, cases):
        failures.append(f"{role}: {cases} cases, where {known or 'some'} are known")
    print(f"{role}: {cases} cases: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    return sum(counts[name] for name in RIGHT), failures


def main(results, known, *roles):
    judged = [of_role(pathlib.Path(results), role, int(known)) for role in roles]
    failures = [failure for _, more in judged for failure in more]
    for failure in failures:
        print(f"FAILED: {failure}")
    print(f"{sum(passed for passed, _ in judged)} passed, {len(failures)} failed", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
