#!/usr/bin/env python3
"""tools/unused.py finds what it is there to find, in a small tree of its own. Prints TAP.

unused_rules.py ROOT
"""
import json
import os
import subprocess
import sys
import tempfile

FILES = {
    "src/base/a.h": "struct pair { int left, right; struct { int seen, unread; } in; };\n"
                    "int a_used(struct pair *p); int a_own(void); int a_tested(void);\n"
                    "int a_unused(void); extern int a_table[];\n",
    "src/base/a.c": '#include "a.h"\n'
                    "int a_own(void) { return 1; }\n"
                    "int a_tested(void) { return a_own(); }\n"
                    "int a_used(struct pair *p) { p->right = 2; return p->left + p->in.seen + a_tested(); }\n"
                    "/* a_unused is said here, and \"a_unused\" */\n"
                    "int a_unused(void) { return 3; }\n"
                    "int a_table[2] = {1, 2};\n",
    "src/base/b.c": '#include "a.h"\nint main(void) { struct pair p = {0}; return a_used(&p); }\n',
    "tests/t.c": '#include "../src/base/a.h"\n'
                 "int t(void) { return a_tested() + a_unused() + a_table[0]; }\n",
}


FOUND = """1..2
not ok 1 - functions and tables have users
# src/base/a.c: no other file uses a_own: make it static
# src/base/a.c: nothing in src/ uses a_table
# src/base/a.c: nothing in src/ uses a_unused
not ok 2 - members of structs are read
# src/base/a.h: nothing reads pair.right
# src/base/a.h: nothing reads pair.unread
"""


def build(folder):
    commands = []
    for name, text in FILES.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        if name.endswith(".c"):
            subprocess.run(["cc", "-c", "-O2", path, "-o", path + ".o"], check=True)
            commands.append({"directory": folder, "file": name, "output": name + ".o"})
    with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as f:
        json.dump(commands, f)


with tempfile.TemporaryDirectory() as tree:
    build(tree)
    run = subprocess.run([sys.executable, os.path.join(sys.argv[1], "tools/unused.py"), tree, tree],
                         capture_output=True, text=True, check=False)
got = "".join(s + "\n" for s in run.stdout.splitlines() if "take it out" not in s)
print("1..1")
print(f"{'ok' if run.returncode == 1 and got == FOUND else 'not ok'} 1 - what nobody uses is found")
if got != FOUND:
    print("".join(f"# {s}\n" for s in (got + run.stderr).splitlines()), end="")
