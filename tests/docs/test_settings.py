"""The pages that are written from the code say what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_settings_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "settings_page.py"), "--check"], check=False)
    assert done.returncode == 0, "run 'make settings'"


def test_the_charts_schema_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "chart_schema.py"), "--check"], check=False)
    assert done.returncode == 0, "run 'make settings'"


def test_the_metrics_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "metrics_page.py"), "--check"], check=False)
    assert done.returncode == 0, "run 'make metrics'"
