#!/usr/bin/env python3
"""The house rules as a test (docs/architecture.md): prints TAP, exits 1 when a rule is broken.

tidy.py [ROOT]    CC names the compiler that tries every header alone (default: cc)
"""
import concurrent.futures
import os
import re
import subprocess
import sys

ROOMS = ["base", "job", "kern", "policy", "text", "net", "api", "hub", "engine", "books", "cloud", "console", "serve",
         "plan", "demo", "cmd"]

# Who may include whom: "room" allows every header of it, "room*" only its doors.
ALLOWED = {
    "base": [],
    "job": ["base"],
    "kern": ["base"],
    "policy": ["base", "job"],
    "text": ["base", "job"],
    "net": ["base"],
    "api": ["base", "job"],
    "hub": ["base", "job", "net*"],
    "engine": ["base", "job", "kern*", "policy", "text*"],
    "books": ["base", "job", "policy"],
    "cloud": ["base", "job", "policy", "net", "api*", "books*"],
    "console": ["base", "job", "policy", "net", "api*", "cloud*", "books*"],
    "serve": ["base", "job", "policy", "net", "api*", "cloud*", "engine*", "console*"],
    "plan": ["base", "job", "policy"],
    "demo": ["base", "net*"],
    "cmd": ["base", "job"] + [room + "*" for room in ROOMS if room not in ("base", "job", "cmd")],
}
# Rooms that only decide: what their files include, and what that includes, is one of these headers
# or of these rooms. So no I/O, clock, memory, threads or locks can be named in them.
PURE = {
    "policy": ["stdint.h", "stddef.h", "stdbool.h", "limits.h", "float.h", "math.h", "string.h",
               "base/check.h", "job/", "policy/"],
}

# Headers closed to a room, but for the files named: cloud and books are told the
# time; only the books thread, who waits for it, and who waits for a service elsewhere, look at the clock.
CLOSED = {"cloud": {"base/clock.h": ["hooks.c", "relay.c"]}, "books": {"base/clock.h": ["books.c", "settle.c"]}}

# Doors beside room/room.h.
DOORS = {"books": ["cose.h", "contract_use.h", "invoice.h", "log_export.h", "power_by_hour.h", "power_log.h", "proof.h", "taken_log.h", "upkeep.h"],
         "net": ["fetch.h", "upstream.h"],
         "cloud": ["acceptance.h", "accepted.h", "account.h", "accounts.h", "accounts_json.h", "carbon.h", "contract_file.h", "hooks.h", "portfolio.h", "measurement.h", "relay.h", "power_view.h", "power_watch.h", "proven.h", "settled.h", "settled_stored.h", "replay.h", "route_record.h", "sessions.h", "site.h"],
         "engine": ["energy_meter.h"],
         "serve": ["energy_settings.h", "energy_source.h", "energy_store.h", "route_try.h"],
         "kern": ["peak.h"],
         "console": ["account_view.h", "bench_store.h", "overview.h", "page.h", "redact.h", "request_store.h", "request_text.h", "row.h", "span.h", "watch.h"],
         "text": ["vocab.h", "jinja.h", "detok.h", "prompt.h", "stop.h"]}

BANNED = {
    "strcpy": "snprintf", "strcat": "struct buf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "gets": "fgets",
    "atoi": "strtol with a check", "atol": "strtol with a check", "atof": "strtod with a check",
    "rand": "base/rand.h", "srand": "base/rand.h", "random": "base/rand.h",
    "strtok": "strsep or strcspn", "system": "nothing", "popen": "nothing", "tmpnam": "mkstemp",
    "mktemp": "mkstemp", "alloca": "an arena", "gmtime": "gmtime_r", "localtime": "localtime_r",
    "strerror_r": "strerror", "usleep": "clock_sleep_us",
}

# Words that the glossary has replaced (docs/glossary.md): as a part of an identifier, or where it
# begins ("probe_": the server's probes_ are another thing).
RETIRED = {
    "etch": "repack", "etched": "repacked", "guest": "part_time, or reserve in net",
    "trip": "snapshot", "track": "timeline", "service": "tier", "^front": "handler",
    "^probe": "peak, or bench for timed steps", "^adapter": "local_supplier",
}

COLUMNS, LINES = 100, 1000
KERNEL_FLAGS = ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl",
                "-mavx512dq", "-mavx512vnni", "-mavxvnni"]
PACKAGES = ["jansson", "libevent", "libnghttp2", "libcurl", "openssl", "libsodium", "sqlite3", "libpcre2-8",
            "libutf8proc", "yaml-0.1", "libedit", "libzip", "zlib"]


def list_files(root):
    out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                         capture_output=True, text=True, check=False)
    if out.returncode == 0 and out.stdout:
        names = out.stdout.splitlines()
    else:  # an unpacked archive
        names = [os.path.relpath(os.path.join(d, f), root)
                 for top in ("src", "tests", "tools", "bench")
                 for d, _, fs in os.walk(os.path.join(root, top)) for f in fs]
    return sorted(n for n in set(names) if os.path.isfile(os.path.join(root, n)))


def read(root, name):
    with open(os.path.join(root, name), "rb") as f:
        return f.read().decode("utf-8", "replace")


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def strip(text):
    """Code without comments and literals, line numbers kept."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def line_of(text, pos):
    return text.count("\n", 0, pos) + 1


def check_includes(sources):
    bad = []
    for name, text in sources.items():
        parts = name.split("/")
        if parts[0] != "src" or len(parts) != 3:
            if parts[0] == "src":
                bad.append(f"{name}: src/ is one folder deep")
            continue
        room = parts[1]
        if room not in ALLOWED:
            bad.append(f"{name}: no such room (tools/tidy.py, docs/architecture.md)")
            continue
        for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', text, re.M):
            target, where = m.group(1), f"{name}:{line_of(text, m.start())}"
            other, _, header = target.partition("/")
            if not header:
                bad.append(f'{where}: "{target}" must be written room/{target}')
            elif parts[2] not in CLOSED.get(room, {}).get(target, parts):
                bad.append(f"{where}: {room} may not include {target}")
            elif other == room or other in ALLOWED[room]:
                continue
            elif other + "*" not in ALLOWED[room]:
                bad.append(f"{where}: {room} may not include {other}")
            elif header != other + ".h" and header not in DOORS.get(other, []):
                bad.append(f"{where}: {room} may include the door {other}/{other}.h only, "
                           f"not {target}")
    return bad


def check_pure(sources):
    """Followed through the project's own headers: a shared noun must not bring in the clock."""
    bad = []

    def follow(room, name, path, seen):
        for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', sources.get(name, ""), re.M):
            target = m.group(1)
            if not any(target == a or (a.endswith("/") and target.startswith(a)) for a in PURE[room]):
                bad.append(f"{path[0]}: {room} only decides and may not include {target}" +
                           "".join(f", which {p} does" for p in path[:0:-1]))
            elif f"src/{target}" not in seen:
                seen.add(f"src/{target}")
                follow(room, f"src/{target}", path + [target], seen)

    for name in sources:
        room = name.split("/")[1]
        if room in PURE:
            follow(room, name, [name], {name})
    return bad


def check_banned(sources):
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    bad = []
    for name, text in sources.items():
        code = strip(text)
        for m in pattern.finditer(code):
            bad.append(f"{name}:{line_of(code, m.start())}: {m.group(1)} is banned; "
                       f"use {BANNED[m.group(1)]}")
    return bad


def check_typedefs(sources):
    bad = []
    for name, text in sources.items():
        code = strip(text)
        for m in re.finditer(r"\btypedef\s+(struct|union|enum)\b(?![^;{]*\()", code):
            bad.append(f"{name}:{line_of(code, m.start())}: no {m.group(1)} typedefs")
    return bad


def check_words(sources):
    bad = []
    for name, text in sources.items():
        code = strip(text)
        for m in re.finditer(r"[A-Za-z]\w*_\w+|\b[A-Za-z]+\b", code):
            parts = m.group().lower().split("_")
            for word, instead in RETIRED.items():
                if word in parts or (word[0] == "^" and len(parts) > 1 and word[1:] == parts[0]):
                    bad.append(f"{name}:{line_of(code, m.start())}: {m.group()}: the word is "
                               f"{instead} (docs/glossary.md)")
    return bad


def check_glossary(root, files):
    names = {os.path.basename(f) for f in files}
    text = read(root, "docs/glossary.md") if "docs/glossary.md" in files else ""
    return [f"docs/glossary.md:{line_of(text, m.start())}: there is no {m.group(1)}"
            for m in re.finditer(r"`([\w.]+\.[ch])`", text) if m.group(1) not in names]


def check_basenames(sources):
    seen, bad = {}, []
    for name in sources:
        base = os.path.basename(name)
        if base in seen:
            bad.append(f"{name}: {seen[base]} has the same name")
        seen[base] = name
    return bad


def check_text(texts):
    bad = []
    for name, text in texts.items():
        lines = text.split("\n")
        if len(lines) > LINES + 1:
            bad.append(f"{name}: {len(lines) - 1} lines, at most {LINES}")
        if text and not text.endswith("\n"):
            bad.append(f"{name}: no newline at the end")
        table = False  # wide rows are fine where clang-format is told to keep off
        for i, line in enumerate(lines, 1):
            if "clang-format o" in line:
                table = "clang-format off" in line
            if "\t" in line and not name.endswith("Makefile"):
                bad.append(f"{name}:{i}: a tab")
            if line != line.rstrip():
                bad.append(f"{name}:{i}: blanks or a CR at the end")
            if len(line) > COLUMNS and not table and name.endswith((".c", ".h")):
                bad.append(f"{name}:{i}: {len(line)} columns, at most {COLUMNS}")
    return bad


def check_listed(root, files, sources):
    """Every .c file is built: its room's meson.build names it; a test's, any below tests/ or a
    script."""
    scripts = "".join(read(root, n) for n in files if n.endswith(".sh"))
    tests = "".join(read(root, n) for n in files if re.fullmatch(r"tests/(.*/)?meson\.build", n))
    bad = []
    for name in sources:
        folder, base = os.path.split(name)
        if not name.endswith(".c"):
            continue
        if folder.startswith("tests"):
            short = re.sub(r"^fuzz_|\.c$", "", base)
            found = re.search(rf"['/]{re.escape(base)}'|\['{re.escape(short)}',", tests) or \
                f"/{base}" in scripts
        else:
            path = os.path.join(folder, "meson.build")
            found = path in files and f"'{base}'" in read(root, path)
        if not found:
            bad.append(f"{name}: no meson.build names it")
    return bad


def check_headers(root, sources):
    """Each header compiles as a unit of its own. tmpl_*.h and vmath.h are bodies of the kernels,
    included once an instruction set is chosen."""
    flags = subprocess.run(["pkg-config", "--cflags"] + PACKAGES, capture_output=True, text=True,
                           check=False).stdout.split()
    cc = os.environ.get("CC", "cc").split()

    def compile_one(name):
        room = name.split("/")[1]
        r = subprocess.run(cc + ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                                 "-Wno-unused-parameter", "-Wno-unused-function", "-Isrc",
                                 "-fsyntax-only", "-xc", "-"] + flags +
                           (KERNEL_FLAGS if room == "kern" else []),
                           input=f'#include "{name[4:]}"\n#include "{name[4:]}"\n', cwd=root,
                           capture_output=True, text=True, check=False)
        if r.returncode == 0:
            return None
        first = next((s for s in r.stderr.splitlines() if "error" in s), r.stderr.strip())
        return f"{name}: does not compile alone, twice included: {first}"

    names = [n for n in sources if n.startswith("src/") and n.endswith(".h") and
             not re.match(r"tmpl_|vmath\.h$", os.path.basename(n))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return [bad for bad in pool.map(compile_one, names) if bad]


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    files = list_files(root)
    sources = {n: read(root, n) for n in files
               if n.startswith(("src/", "tests/", "tools/", "bench/")) and n.endswith((".c", ".h"))}
    product = {n: t for n, t in sources.items() if n.startswith("src/")}
    texts = dict(sources)
    texts.update({n: read(root, n) for n in files if n.endswith((".py", ".sh", "meson.build"))})
    rules = [
        ("rooms include only what they may", check_includes(product)),
        ("rooms that only decide include nothing that acts", check_pure(product)),
        ("no banned functions", check_banned(product)),
        ("no struct typedefs", check_typedefs(product)),
        ("no words that the glossary has replaced", check_words(product)),
        ("the glossary names files that are there", check_glossary(root, files)),
        ("basenames are unique", check_basenames(sources)),
        ("file length, line length, blanks", check_text(texts)),
        ("every source file is built", check_listed(root, files, sources)),
        ("headers compile alone", check_headers(root, sources)),
    ]
    print(f"1..{len(rules)}")
    for i, (rule, bad) in enumerate(rules, 1):
        print(f"{'not ok' if bad else 'ok'} {i} - {rule}")
        for line in bad:
            print(f"# {line}")
    sys.exit(any(bad for _, bad in rules))


if __name__ == "__main__":
    main()
