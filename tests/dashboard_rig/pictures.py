"""Pictures of the dashboard in every state, width and scheme.

python -m tests.dashboard_rig.pictures DIRECTORY [PICTURE [WIDTHS [SCHEMES]]]
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright

from tests.dashboard_rig.stage import Stage, every_state, many, served

SIZES = ((1300, 900), (800, 900), (390, 800))


async def main(to: Path, which: str, sizes: str, schemes: str) -> None:
    """Take them all, or those of a stage, or of a page."""
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        for kind in ("states", "many", "none"):
            with tempfile.TemporaryDirectory() as home:
                stage = Stage(Path(home))
                if kind == "states":
                    await every_state(stage)
                elif kind == "many":
                    await many(stage, 300, steps=60)
                paths = {f"{kind}": "/"}
                if kind == "states":
                    paths |= {f"model-{name}": f"/models/{name}" for name in stage.models}
                elif kind == "many":
                    paths["many-grouped"] = "/?group=name&sort=-rate"
                paths = {name: path for name, path in paths.items() if which in {"", name}}
                async with served(stage) as admin:
                    for scheme in schemes.split(","):
                        for width, height in SIZES:
                            if str(width) not in sizes.split(","):
                                continue
                            viewport = ViewportSize(width=width, height=height)
                            page = await browser.new_page(
                                viewport=viewport, color_scheme="dark" if scheme == "dark" else "light"
                            )
                            for name, path in paths.items():
                                await page.goto(admin + path)
                                await page.wait_for_selector("[data-state=live]")
                                wide = await page.evaluate("document.documentElement.scrollWidth")
                                if wide > width:
                                    sys.stdout.write(f"{name} is {wide} wide at {width}\n")
                                whole = kind != "many"
                                await page.screenshot(path=to / f"{name}-{width}-{scheme}.png", full_page=whole)
                            await page.close()
        await browser.close()


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *["", "", "1300,800,390", "light,dark"][len(sys.argv) - 1 :]]
    asyncio.run(main(Path(arguments[0]), arguments[1], arguments[2], arguments[3]))
