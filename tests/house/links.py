#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
#
# Looks at all pages: whatever they link to within the tree must be there, anchors included, and so
# must be every file that they name in passing. A link to a test whose text is code names the test
# case: that must be in the file.

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)|^\[[^\]]+\]:\s*(\S+)", re.M)
CODE = re.compile(r"`([^`\n]+)`")
# What stands in backticks and is a path from the top, without wild cards or holes to be filled.
PATH = re.compile(r"(?:\.ci|\.github|bench|cmake|docs|examples|fuzz|include|single_include|tests)/"
                  r"[\w./-]*\w/?")


def without_blocks(text):
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.M | re.S)


def anchors(page):
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", without_blocks(page.read_text()), re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        unique, n = name, 0
        while unique in found:
            n += 1
            unique = f"{name}-{n}"
        found.add(unique)
    return found


def test_cases(source):
    joined = re.sub(r'"\s*\n\s*"', "", source.read_text())
    return re.findall(r'TEST_CASE\(\s*"((?:[^"\\]|\\.)*)"', joined)


def faults(page):
    text = without_blocks(page.read_text())
    for label, inline, reference in LINK.findall(text):
        target = inline or reference
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.exists():
            yield f"links to {target}, which is not there"
        elif anchor and to.suffix == ".md" and anchor not in anchors(to):
            yield f"links to {target}, but there is no such heading"
        elif to.suffix == ".cpp" and ROOT / "tests" in to.parents and re.fullmatch("`.*`", label):
            name = label.strip("`")
            if not path.endswith(name) and name not in test_cases(to):
                yield f"names the test case {label}, which is not in {path}"
    for code in CODE.findall(text):
        for name in code.split():
            if PATH.fullmatch(name) and not (ROOT / name).exists():
                yield f"names {name}, which is not there"


def main():
    pages = [page for page in sorted(ROOT.rglob("*.md"))
             if page.relative_to(ROOT).parts[0] not in ("build", ".git")]
    found = [f"{page.relative_to(ROOT)}: {fault}" for page in pages for fault in faults(page)]
    print("\n".join(found) if found else f"{len(pages)} pages")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
