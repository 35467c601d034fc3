"""How long a month's statement takes by how many rows it is of: statement.py [ROWS] [--folder DIR]

Makes a ledger with ROWS requests of one contract (default a million) and a month of power rows of one site, by SQL and
without their hashes (a statement does not read these; `gaufre audit` would refuse it), and prints the time and the
memory of `gaufre contract statement`, for ROWS and a tenth of them, and from the slope what 100 million rows would take.
The rows come from the page cache here; on a disk, what it reads in that time has to be added.
"""
import argparse
import os
import pathlib
import resource
import sqlite3
import subprocess
import tempfile
import time

GAUFRE = os.environ.get("GAUFRE_BIN", "build/release/src/cmd/gaufre")
FIRST = 1772323200  # 2026-03-01
CONTRACT = """contract: bench
from: 2026-01-01
until: 2029-01-01
signed: 2025-12-01
currency: EUR
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
late_credit: 0.5
shortfall_credit: 1
tranches:
  - {name: a, mw: 3, site: fra1, target: 2026-01-01, delivered: 2026-01-01, price: 95.5}
"""


def make(folder, n):
    env = {**os.environ, "GAUFRE_HOME": str(folder)}
    (folder / "bench.yaml").write_text(CONTRACT)
    (folder / "c.yaml").write_text('suppliers: [{name: s, base_url: "http://127.0.0.1:9", models: [m]}]\n')
    server = subprocess.Popen([GAUFRE, "serve", "--port", "0", "-c", str(folder / "c.yaml")], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while "serves on" not in server.stdout.readline():
        pass
    server.terminate()
    server.communicate()
    db = sqlite3.connect(folder / "ledger.db")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("WITH RECURSIVE k(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i < ? - 1) INSERT INTO usage (request_id, at_us,"
               " tenant, key_id, model, supplier, prompt_tokens, cached_tokens, completion_tokens, energy_uj, status, charge_nano,"
               " cost_nano, currency, seq, contract, tranche, lent, energy_method, site) SELECT printf('req_%016x', i),"
               " (? + i * 2678400.0 / ?) * 1000000, 'acme', 'k', 'm', 's/m', i % 4000, 0, i % 900, i % 100000, 200,"
               " CASE WHEN i % 10 THEN 0 ELSE i % 1000000 END, 0, 'EUR', i + 1, 'bench', 'a', CASE WHEN i % 10 THEN 0 ELSE 2 END, 4, 'fra1' FROM k",
               (n, FIRST, n))
    minute = 60000000
    db.executemany(f"INSERT INTO power VALUES ({','.join('?' * 16)}, '')",
                   ((i + 1, "", (FIRST + 60 * i) * 1000000, "fra1", (FIRST + 60 * i) * 1000000, (FIRST + 60 * i + 60) * 1000000, 9000000 * minute,
                     4000000 * minute, 0, 3000000 * minute, (i % 3) * 500000 * minute, 0, 0, 0, "", "") for i in range(31 * 1440)))
    db.commit()
    db.close()
    return env


def measure(folder, env):
    t = time.monotonic()
    subprocess.run([GAUFRE, "contract", "statement", str(folder / "bench.yaml"), "--month", "2026-03", "--json"], env=env, check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - t


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", type=int, nargs="?", default=1000000)
    p.add_argument("--folder", help="where ledgers are made (a temporary one)")
    o = p.parse_args()
    took = []
    with tempfile.TemporaryDirectory(dir=o.folder) as top:
        for n in (o.rows // 10, o.rows):
            folder = pathlib.Path(top) / str(n)
            folder.mkdir()
            env = make(folder, n)
            took.append(min(measure(folder, env) for _ in range(3)))
            print(f"{n:>10} rows: {took[-1]:.3f} s, at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB so far, "
                  f"ledger {(folder / 'ledger.db').stat().st_size / 2**20:.0f} MiB")
    slope = (took[1] - took[0]) / (o.rows - o.rows // 10)
    print(f"by the slope, 100 million rows: {(took[0] + slope * (10**8 - o.rows // 10)) / 60:.1f} min (extrapolated, not measured)")


if __name__ == "__main__":
    main()
