#!/usr/bin/env python3
"""Sum up test results: tally.py FOLDER

Reads FOLDER/steps.txt ("ok NAME" or "not ok NAME" a line), FOLDER/*.json (meson's log of tests, of
which most speak TAP) and FOLDER/*.xml (JUnit, as pytest writes it), names what failed and what was skipped and why, and ends with the line
"N passed, M failed" (", K skipped"). Exits 1 when anything failed or nothing ran.
"""
import collections
import glob
import json
import os
import re
import sys
import xml.etree.ElementTree as ET


def read_steps(path, failed):
    passed = 0
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.startswith("ok "):
                    passed += 1
                elif line.startswith("not ok "):
                    failed.append("step: " + line[7:].strip())
    return passed


TAP = re.compile(r"^(not )?ok\b *(\d*) *-? *(.*)$", re.M)


def read_meson(path, failed, skipped):
    source = os.path.splitext(os.path.basename(path))[0]
    passed = 0
    with open(path, encoding="utf-8") as f:
        tests = [json.loads(line) for line in f]
    for test in tests:
        name = f"{source}: {test['name'].split(' / ')[-1]}"
        bad = 0
        for no, _, what in TAP.findall(test.get("stdout") or ""):
            what, _, directive = what.partition("# ")
            if directive.upper().startswith("SKIP"):
                skipped[directive[4:].strip() or "no reason given"].append(f"{name} {what}")
            elif no:
                failed.append(f"{name} {what}")
                bad += 1
            else:
                passed += 1
        # A test without TAP, or one that died or was caught by a sanitizer between its cases.
        if test["result"] == "SKIP" and not TAP.search(test.get("stdout") or ""):
            skipped["the test skipped itself"].append(name)
        elif test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and not bad:
            failed.append(f"{name} ({test['result'].lower()}, status {test['returncode']})")
        elif not TAP.search(test.get("stdout") or ""):
            passed += 1
    return passed


def case_name(source, case):
    owner = case.get("classname") or ""
    return f"{source}: {owner + ' ' if owner else ''}{case.get('name')}"


def first_line(element):
    text = element.get("message") or element.text or ""
    return text.strip().splitlines()[0][:100] if text.strip() else "no reason given"


def read_xml(path, failed, skipped):
    source = os.path.splitext(os.path.basename(path))[0]
    passed = 0
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, OSError) as e:
        failed.append(f"{source}: results cannot be read: {e}")
        return 0
    for suite in root.iter("testsuite"):
        cases = suite.findall("testcase")
        bad = 0
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(case_name(source, case))
                bad += 1
            elif case.find("skipped") is not None:
                skipped[first_line(case.find("skipped"))].append(case_name(source, case))
            else:
                passed += 1
        # A program that died between its cases: the suite counts an error that no case has.
        counted = int(suite.get("failures") or 0) + int(suite.get("errors") or 0)
        if counted > bad:
            failed.append(f"{source}: {suite.get('name')} (ended early)")
    return passed


def main():
    folder = sys.argv[1]
    failed, skipped = [], collections.defaultdict(list)
    passed = read_steps(os.path.join(folder, "steps.txt"), failed)
    for path in sorted(glob.glob(os.path.join(folder, "*.xml"))):
        passed += read_xml(path, failed, skipped)
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        passed += read_meson(path, failed, skipped)
    for reason, names in sorted(skipped.items()):
        print(f"skipped {len(names)}: {reason}")
    for name in failed:
        print(f"FAILED {name}")
    n_skipped = sum(map(len, skipped.values()))
    print(f"{passed} passed, {len(failed)} failed" + (f", {n_skipped} skipped" if n_skipped else ""))
    sys.exit(1 if failed or not passed else 0)


main()
