#!/usr/bin/env python3
"""What nobody uses: prints TAP, exits 1 when there is something.

unused.py BUILD [ROOT]    BUILD: a build directory, built

A function or table that the whole program shares must be used by another file of src/: else it is
static (the compiler then says when it has no caller), or it is gone. A function that its own file
uses may be shared for the tests. What only tests use is not used, but for what KEPT lists.
A member of a struct must be read somewhere in src/.
"""
import collections
import json
import os
import re
import subprocess
import sys

# Name: why it stays although no other file of src/ uses it.
KEPT = {
    "main": "the system calls it",
    # Tables that documents and their tests are made from.
    "api_header_row": "docs/api.md", "api_error_row": "docs/api.md",
    "api_route_row": "docs/api.md",
    "console_metric_row": "docs/operations.md",
    # What tests look at: the whole of it, where the program asks for parts by name.
    "gguf_kv_at": "fuzz_gguf reads every key", "gguf_n_kv": "likewise",
    "kern_f32_to_f16": "tests write files of models",
    "kern_isa_name": "the checker and the goldens say what they ran",
    "kv_check": "pages and references agree after every operation",
    "prep_n_queued": "tests wait until a call is in the queue",
    "vocab_adds_bos": "what a file says of it",
    "vocab_find": "the reference of SentencePiece, written otherwise, looks tokens up",
    "cloud_step": "a simulation steps the books itself",
}
# struct.member: why it stays although nothing in src/ reads it.
KEPT_MEMBERS = {
    "amx_config.palette": "the CPU reads it", "amx_config.start_row": "the CPU reads it",
    "reading.i32": "room for the values of fields without effect",
}

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def strip(text):
    """Code without comments and literals."""
    return TOKEN.sub(" ", text)


def built_objects(build, root):
    """{object: its source}, of the program and of its tests. Objects below tests/ are tests, whatever
    they were compiled from."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    program, tests = {}, {}
    for c in commands:
        source = os.path.relpath(os.path.join(c["directory"], c["file"]), root)
        object_ = os.path.join(c["directory"], c["output"])
        if source.endswith(".c") and os.path.isfile(object_):
            (program if c["output"].startswith("src/") else tests)[object_] = source
    return program, tests


def read_symbols(objects):
    """{name: the source that defines it}, {name: the sources that refer to it}."""
    defined, used = {}, collections.defaultdict(set)
    if not objects:
        return defined, used
    out = subprocess.run(["nm", "-A"] + list(objects), capture_output=True, text=True,
                         check=True).stdout
    for line in out.splitlines():
        object_, _, rest = line.partition(":")
        *_, kind, name = rest.split()
        if kind in "TDBRC":
            defined[name] = objects[object_]
        elif kind == "U":
            used[name].add(objects[object_])
    return defined, used


def check_symbols(build, root):
    program, tests = built_objects(build, root)
    defined, used = read_symbols(program)
    _, used_by_tests = read_symbols(tests)
    bad = []
    for name, source in sorted(defined.items(), key=lambda d: (d[1], d[0])):
        if name.startswith("_") or name in KEPT or used[name] - {source}:
            continue
        with open(os.path.join(root, source), encoding="utf-8") as f:
            own = len(re.findall(rf"\b{name}\b", strip(f.read()))) > 1
        if not own:
            bad.append(f"{source}: nothing in src/ uses {name}")
        elif not used_by_tests[name]:
            bad.append(f"{source}: no other file uses {name}: make it static")
    return bad, [name for name in KEPT if name not in defined or used[name] - {defined[name]}]


MEMBER = re.compile(r"(\w+)(?:\s*\[[^\]]*\])*(?:\s*:\s*\d+)?\s*[,;]")


def struct_members(code):
    """(struct, member) of every struct in the code; those of nested ones without a name too."""
    for m in re.finditer(r"\bstruct\s+(\w+)\s*\{", code):
        depth, end = 1, m.end()
        while depth and end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        body = re.sub(r"\benum\b[^{;]*\{[^}]*\}", "int", code[m.end():end - 1])
        body = re.sub(r"\([^()]*\*\s*(?:const\s+)?(\w+)\s*\)\s*\([^;]*\)", r" \1", body)
        body = re.sub(r"__attribute__\s*\(\(.*?\)\)|_Alignas\s*\([^)]*\)|_Atomic\s*\(([^()]*)\)",
                      r"\1 ", body)
        for name in MEMBER.findall(body):
            yield m.group(1), name


def check_members(root):
    texts = {}
    for folder, _, names in os.walk(os.path.join(root, "src")):
        for name in names:
            if name.endswith((".c", ".h")):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as f:
                    texts[os.path.relpath(path, root)] = strip(f.read())
    code = "\n".join(texts.values())
    seen = collections.Counter(re.findall(r"\b[A-Za-z_]\w*", code))
    # A name that is only set: by a designated initialiser or an assignment.
    set_ = collections.Counter(re.findall(r"(?:\.|->)(\w+)\s*=(?!=)", code))
    members = collections.Counter()
    at = {}
    for path, text in texts.items():
        for struct, name in struct_members(text):
            members[name] += 1
            at.setdefault(name, []).append((path, struct))
    unread = {f"{struct}.{name}": path
              for name in sorted(members) if seen[name] <= members[name] + set_[name]
              for path, struct in at[name]}
    return [f"{path}: nothing reads {member}" for member, path in unread.items()
            if member not in KEPT_MEMBERS], [m for m in KEPT_MEMBERS if m not in unread]


def main():
    build = os.path.abspath(sys.argv[1])
    root = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else ".")
    rules = [
        ("functions and tables have users", check_symbols(build, root)),
        ("members of structs are read", check_members(root)),
    ]
    print(f"1..{len(rules)}")
    for i, (rule, (bad, stale)) in enumerate(rules, 1):
        print(f"{'not ok' if bad or stale else 'ok'} {i} - {rule}")
        for line in bad:
            print(f"# {line}")
        for name in stale:
            print(f"# tools/unused.py keeps {name}, which is used or is not there: take it out")
    sys.exit(any(bad or stale for _, (bad, stale) in rules))


if __name__ == "__main__":
    main()
