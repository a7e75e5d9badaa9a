#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Prints lines and branches of include/cleave as a table, from what llvm-cov exports.

    coverage.py FOLDER [--missing HEADER]

A template's line counts as run when any of its instantiations ran it, and so does a branch: each
condition has two, and those that the compiler decides (if constexpr) have none. Lines without code,
which the tools count with what stands before them, are left out. What tests/coverage.txt excludes,
with its reason, is counted apart: each line there is `path | text of the source line | reason`.
"""

import collections
import glob
import json
import os
import re
import sys

no_code = re.compile(r"\s*(//.*|#.*|[{}();]*|} else {|public:|private:)\s*")
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
base = os.path.join(root, "include", "cleave")


def exclusions():
    found = collections.defaultdict(list)
    path = os.path.join(root, "tests", "coverage.txt")
    if os.path.exists(path):
        for line in open(path):
            if line.strip() and not line.startswith("#"):
                name, text, _ = (part.strip() for part in line.split("|", 2))
                found[name].append(text)
    return found


def read_lines(path, lines):
    for row in open(path):
        kind, _, rest = row.strip().partition(":")
        if kind == "SF":
            name = os.path.relpath(rest, base)
        elif kind == "DA":
            line, count = rest.split(",")[:2]
            lines[name][int(line)] += int(count)


def read_branches(path, branches):
    for function in json.load(open(path))["data"][0]["functions"]:
        names = [os.path.relpath(name, base) for name in function["filenames"]]
        for first, column, last, end, true, false, file, *_ in function["branches"]:
            counts = branches[names[file]][first, column, last, end]
            counts[0] += true
            counts[1] += false


def main():
    # For each header and line, how often it ran; and for each condition, by its place, how often
    # it was true and false.
    lines = collections.defaultdict(lambda: collections.defaultdict(int))
    branches = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    for path in glob.glob(os.path.join(sys.argv[1], "*.lcov")):
        read_lines(path, lines)
    for path in glob.glob(os.path.join(sys.argv[1], "*.text")):
        read_branches(path, branches)
    shown = sys.argv[3] if len(sys.argv) > 3 else None
    excluded = exclusions()
    total = [0, 0, 0, 0]
    left_out = 0
    print(f"{'':40}{'lines':>8}{'run':>8}{'%':>8}{'branches':>10}{'run':>8}{'%':>8}")
    for name in sorted(lines):
        if name.startswith(".."):
            continue
        source = open(os.path.join(base, name)).read().split("\n")
        skip = {n for n, text in enumerate(source, 1)
                if any(pattern in text for pattern in excluded.get(name, []))}
        left_out += len(skip & set(lines[name]))
        skip |= {n for n, text in enumerate(source, 1) if no_code.fullmatch(text)}
        count = [0, 0, 0, 0]
        for line, n in lines[name].items():
            if line in skip:
                continue
            count[0] += 1
            count[1] += n != 0
            if shown == name and n == 0:
                print(f"    line {line}: {source[line - 1]}")
        for (line, column, *_), counts in sorted(branches[name].items()):
            if line in skip or "if constexpr" in source[line - 1]:
                continue
            for n, way in zip(counts, ("true", "false")):
                count[2] += 1
                count[3] += n != 0
                if shown == name and n == 0:
                    print(f"    never {way}, line {line}:{column}: {source[line - 1]}")
        total = [a + b for a, b in zip(total, count)]
        print_row(name, count)
    print_row("all of include/cleave", total)
    print(f"{left_out} lines are excluded; tests/coverage.txt says why")


def print_row(name, count):
    def percent(part, of):
        return "-" if of == 0 else f"{100 * part / of:.1f}"
    print(f"{name:40}{count[0]:>8}{count[1]:>8}{percent(count[1], count[0]):>8}"
          f"{count[2]:>10}{count[3]:>8}{percent(count[3], count[2]):>8}")


main()
