"""How fast the static site of a published folder answers: `python benchmarks/site_speed.py [--trials 5000 50000]`.

A small folder is published; the rows of its table are repeated under other ids until there are as many trials as asked.
Chromium opens the page from the folder and is asked each of `STATES`, `--rounds` times. Per state the least time is
printed: wall is the page's own clock around filtering, sorting and drawing; CPU is the renderer's (Task duration).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

BOUND_MS = 200
ROWS_PER_FILE = 5000
STATES = {
    "search of two words, sorted by score": "#/table?q=magnitude+0.25&sort=-score",
    "two choices": "#/table?status=ok&method=low_rank",
    "one letter, sorted by label": "#/table?q=e&sort=label",
    "nothing found": "#/table?q=no+such+words",
}


def published(folder: Path) -> Path:
    """A small folder of synthetic results."""
    from prunebench.publishing.publish import publish

    from tests.framework.report import synthetic
    from tests.framework.report.conftest import store_results

    results = synthetic.grid_results(["digits"], ["lenet5"], compressions=(2, 4, 8, 32), seeds=2)
    path = store_results(folder, results)
    publish(path, [], folder / "out")
    return folder / "out"


def _said(file: Path, start: str) -> Any:
    return json.loads(file.read_text(encoding="utf-8").removeprefix(start).removesuffix(");\n"))


def enlarge(folder: Path, count: int) -> float:
    """Repeat the table's rows up to `count`; returns the MB of its files."""
    site = folder / "site"
    columns = _said(site / "rows-0.js", 'prunebench("rows", 0, ')
    names = []
    for number, start in enumerate(range(0, count, ROWS_PER_FILE)):
        rows = min(ROWS_PER_FILE, count - start)
        (site / f"rows-{number}.js").write_text(
            f'prunebench("rows", {number}, {json.dumps(_repeated(columns, start, rows))});\n', encoding="utf-8"
        )
        names.append(f"site/rows-{number}.js")
    front = _said(site / "front.js", 'prunebench("front", 0, ') | {"row_files": names, "row_count": count}
    (site / "front.js").write_text(f'prunebench("front", 0, {json.dumps(front)});\n', encoding="utf-8")
    return sum((folder / name).stat().st_size for name in names) / 1e6


def _repeated(columns: dict[str, Any], start: int, rows: int) -> dict[str, Any]:
    made = {}
    for name, column in columns.items():
        key = "values" if "values" in column else "numbers"
        times = -(-rows // len(column[key]))
        made[name] = column | {key: (column[key] * times)[:rows]}
    return made | {"id": {"values": [f"{start + row:016x}" for row in range(rows)]}}


def cpu_ms(driver: Any) -> float:
    """The renderer's milliseconds of work so far."""
    found = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * next(float(metric["value"]) for metric in found if metric["name"] == "TaskDuration")


def opened(driver: Any, folder: Path) -> tuple[float, float]:
    """Milliseconds, wall and CPU, until every row has arrived."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Performance.enable", {})
    before, start = cpu_ms(driver), time.perf_counter()
    driver.get(f"{(folder / 'index.html').as_uri()}#/table")
    while not driver.execute_script("return document.documentElement.dataset.ready === 'yes'"):
        time.sleep(0.02)
    return 1000 * (time.perf_counter() - start), cpu_ms(driver) - before


def answered(driver: Any, state: str) -> tuple[float, float, str]:
    """Milliseconds, wall and CPU, of one answer, and what was found."""
    driver.execute_script("location.hash = '#/'")
    time.sleep(0.2)
    driver.execute_script("delete document.documentElement.dataset.filterMs")
    before = cpu_ms(driver)
    driver.execute_script("location.hash = arguments[0]", state)
    while not (wall := driver.execute_script("return document.documentElement.dataset.filterMs")):
        time.sleep(0.01)
    time.sleep(0.2)  # what the browser lays out and paints afterwards is its answer, too
    return (
        float(wall),
        cpu_ms(driver) - before,
        driver.execute_script("return document.getElementById('found').textContent"),
    )


def browser() -> Any:
    """A headless Chromium."""
    import shutil

    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def main() -> None:
    """Print a block per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[5000, 50_000])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    driver = browser()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = published(Path(scratch))
            for count in asked.trials:
                megabytes = enlarge(folder, count)
                wall, cpu = opened(driver, folder)
                print(f"{count:,} trials, {megabytes:.1f} MB of rows: opened in {wall:.0f} ms, {cpu:.0f} ms of CPU")
                for name, state in STATES.items():
                    wall, cpu, found = min(answered(driver, state) for _ in range(asked.rounds))
                    print(f"  {name:<38} wall {wall:>6.1f} ms  CPU {cpu:>6.1f} ms  bound {BOUND_MS} ms  ({found})")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
