"""Adds up what pytest and node have counted, and says it in one line."""

import pathlib
import re
import sys
from xml.etree import ElementTree


def of_pytest(file):
    passed = failed = 0
    for case in ElementTree.parse(file).iter("testcase"):
        outcomes = {child.tag for child in case}
        # A test whose clean-up failed is listed twice; the second entry is a failure.
        failed += bool(outcomes & {"failure", "error"})
        passed += not outcomes & {"failure", "error", "skipped"}
    return passed, failed


def of_node(file):
    counts = dict(re.findall(r"^# (\w+) (\d+)$", file.read_text(), re.MULTILINE))
    return int(counts["pass"]), int(counts["fail"]) + int(counts["cancelled"])


def counted(count, file, code):
    """A runner that ended badly has failed, even if it counted nothing or left nothing to read."""
    try:
        passed, failed = count(file)
    except (OSError, KeyError, ElementTree.ParseError) as error:
        print(f"{file.name}: {error!r}", file=sys.stderr)
        return 0, 1
    return passed, max(failed, 0 if code == 0 and passed else 1)


def main(results, python_code, node_code):
    results = pathlib.Path(results)
    tallies = [
        counted(of_pytest, results / "python.xml", int(python_code)),
        counted(of_node, results / "node.tap", int(node_code)),
    ]
    passed, failed = map(sum, zip(*tallies, strict=True))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
