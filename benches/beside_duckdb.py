#!/usr/bin/env python3
"""Folds the same ten million events with presence-core and with DuckDB, and prints the ratio.

    pip install duckdb && python3 benches/beside_duckdb.py

Both count by the same rule (a person with a user id once, under the user; an install only if no event of it named one;
one province and one city each, the last one named) and must come to the same figures. Columns are text in memory on
both sides; reading them in is not timed. Times are those of the processor, as if the machine had nothing else to do,
and as if two threads shared the work evenly. DuckDB gets the last value as one integer to compare, which it is fast at.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb

ROOT = pathlib.Path(__file__).resolve().parent.parent

# `moment` is the instant and the number of the event in one integer.
QUERY = """
    WITH bound AS (SELECT DISTINCT install FROM events WHERE usr IS NOT NULL),
    people AS (
        SELECT arg_max(province, moment) FILTER (province IS NOT NULL) AS province,
               arg_max(city, moment) FILTER (city IS NOT NULL) AS city
        FROM events WHERE usr IS NOT NULL GROUP BY usr
        UNION ALL
        SELECT arg_max(province, moment) FILTER (province IS NOT NULL),
               arg_max(city, moment) FILTER (city IS NOT NULL)
        FROM events ANTI JOIN bound USING (install) WHERE usr IS NULL GROUP BY install
    )
    SELECT 'all' AS kind, NULL AS name, count(*) AS people FROM people
    UNION ALL SELECT 'province', province, count(*) FROM people WHERE province IS NOT NULL GROUP BY province
    UNION ALL SELECT 'city', city, count(*) FROM people WHERE city IS NOT NULL GROUP BY city
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "events.csv"
        bench = ["cargo", "bench", "--quiet", "--locked", "--package", "presence-benches", "--bench", "active_users"]
        run = subprocess.run([*bench, "--", "fold", str(path)], cwd=ROOT, check=True, capture_output=True, text=True)
        ours = json.loads(run.stdout.strip().splitlines()[-1])
        database = duckdb.connect()
        database.execute(
            """CREATE TABLE events AS SELECT
                   (millis - 1735689600000) * 16777216 + number AS moment, install, usr, province, city
               FROM read_csv(?, header = true, types = {'number': 'BIGINT', 'millis': 'BIGINT', 'install': 'VARCHAR',
                   'usr': 'VARCHAR', 'province': 'VARCHAR', 'city': 'VARCHAR'}, nullstr = '')""",
            [str(path)],
        )
    print(f"ours, 1 thread: {ours['seconds']:.2f} s for {ours['count']} people")
    for threads in (1, 2):
        database.execute(f"SET threads = {threads}")
        took, rows = [], []
        for _ in range(5):
            start = time.process_time()
            rows = database.execute(QUERY).fetchall()
            took.append((time.process_time() - start) / threads)
        theirs = {"count": 0, "by_province": {}, "by_city": {}}
        for kind, name, people in rows:
            if kind == "all":
                theirs["count"] = people
            else:
                theirs[f"by_{kind}"][name] = people
        for figure, value in theirs.items():
            if ours[figure] != value:
                sys.exit(f"{figure} differs: {ours[figure]} and {value}")
        seconds = statistics.median(took)
        plural = "s" if threads > 1 else ""
        print(f"DuckDB {duckdb.__version__}, {threads} thread{plural}: {seconds:.2f} s, the same figures;", end=" ")
        print(f"ratio {seconds / ours['seconds']:.2f} (goal: at least 1 on one thread)")


if __name__ == "__main__":
    main()
