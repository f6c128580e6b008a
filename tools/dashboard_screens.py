"""Makes the pictures in docs/dashboard.md: the news models of `make demo` under load, and a version swap.

    python tools/dashboard_screens.py [--minutes 4] [--state-dir .demo] [--chromium /usr/bin/chromium]

Takes a copy of the demo's registry, so that the demo stays as it is. Needs Debian's chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import yaml
from PIL import Image
from playwright.async_api import Page, async_playwright

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_REGISTER = """
from mlflow import MlflowClient
client = MlflowClient()
for name in ("classification", "sentiment"):
    source = client.get_model_version(name, "1").source
    client.create_model_version(name, source)
    client.set_registered_model_alias(name, "production", "1")
"""
_POINT = """
import sys
from mlflow import MlflowClient
MlflowClient().set_registered_model_alias(*sys.argv[1:])
"""
_PER_S = {"classification": 20.0, "sentiment": 8.0}


async def main() -> None:
    """Serve, load, look."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--state-dir", type=Path, default=ROOT / ".demo")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--to", type=Path, default=DOCS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        registry = f"sqlite:///{shutil.copy(options.state_dir / 'mlflow.db', scratch)}"
        _python(_REGISTER, registry)
        served = await _serve(registry, Path(scratch))
        try:
            await _look(*await _addresses(served), registry, options)
        finally:
            served.terminate()
            await served.wait()


async def _look(admin: str, ports: dict[str, str], registry: str, options: argparse.Namespace) -> None:
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=options.chromium, args=arguments)
        load = [asyncio.create_task(_load(url, _PER_S[name])) for name, url in ports.items()]
        light = await browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
        dark = await browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="dark")
        await light.goto(admin)
        await dark.goto(f"{admin}/models/classification")
        await asyncio.sleep(options.minutes * 30)
        await _point(registry, "sentiment", "2")
        await asyncio.sleep(options.minutes * 30)
        await dark.click("#try-send")
        await dark.wait_for_selector("#try-status.good")
        await _shoot(light, options.to / "dashboard-light.png")
        await _shoot(dark, options.to / "dashboard-dark.png", whole=True)
        await dark.close()
        swap = await browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="light")
        await swap.goto(f"{admin}/models/classification")
        moving = asyncio.create_task(_point(registry, "classification", "2"))
        await swap.wait_for_selector(".steps .now", timeout=60_000)
        await _shoot(swap, options.to / "dashboard-swap.png")
        await moving
        for task in load:
            task.cancel()
        await browser.close()


async def _shoot(page: Page, path: Path, *, whole: bool = False) -> None:
    """A picture of what is seen, or of the whole page; with a palette, it is a third of the size and looks the same."""
    picture = Image.open(io.BytesIO(await page.screenshot(full_page=whole))).convert("RGB")
    picture.quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path}\n")


async def _load(url: str, per_s: float) -> None:
    """Ask with headlines, at a rate that swells and ebbs; now and then what cannot be answered."""
    rows = (ROOT / "examples/news/headlines_dev.tsv").read_text(encoding="utf-8").splitlines()
    texts = [row.split("\t")[-1] for row in rows]
    async with httpx.AsyncClient() as client:
        tasks: set[asyncio.Task[httpx.Response]] = set()
        started_s = time.monotonic()
        while True:
            swell = 1 + 0.5 * random.random() + 0.4 * ((time.monotonic() - started_s) % 90 > 55)
            body = {"instances": random.choices(texts[:400], k=random.choice((1, 1, 1, 4)))}
            if random.random() < 0.004:
                body = {"nonsense": []}
            task = asyncio.create_task(client.post(f"{url}/invocations", json=body))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(random.expovariate(per_s * swell))


async def _serve(registry: str, scratch: Path) -> asyncio.subprocess.Process:
    models = {name: {"uri": f"models:/{name}@production", "port": 0} for name in ("classification", "sentiment")}
    models["classification"] |= {"replicas": 2}
    models["sentiment"] |= {"cache": {}}
    document = {"registry": {"tracking_uri": registry, "poll_s": 1}, "admin": {"port": 0}, "models": models}
    file = scratch / "headrace.yaml"
    file.write_text(yaml.safe_dump({**document, "home": str(scratch / "home")}), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("headrace")), "serve", "--config", str(file), "--log-format", "text"]
    return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


async def _addresses(served: asyncio.subprocess.Process) -> tuple[str, dict[str, str]]:
    """What the screen at the end of the start says."""
    found: dict[str, str] = {}
    while {*_PER_S, "admin"} - found.keys():
        line = (await served.stdout.readline()).decode() if served.stdout else ""
        if not line:
            raise SystemExit("headrace has ended")
        if match := re.search(r"● (\S+) .*(http://[\w.:]+)", line):
            found[match[1]] = match[2]
    return found.pop("admin"), found


async def _point(registry: str, name: str, version: str) -> None:
    await asyncio.to_thread(_python, _POINT, registry, name, "production", version)


def _python(code: str, registry: str, *arguments: str) -> None:
    environ = {**os.environ, "MLFLOW_TRACKING_URI": registry}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], check=True, env=environ)


if __name__ == "__main__":
    asyncio.run(main())
