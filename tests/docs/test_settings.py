"""The settings page says what the configuration's tree says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_settings_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "settings_page.py"), "--check"], check=False)
    assert done.returncode == 0, "run 'make settings'"
