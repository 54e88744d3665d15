"""Makes the pictures of docs/ui.md: python docs/screenshots.py. Needs the extras `ui` and `dev-ui`, and Chromium.

They show a repository made for this, in which four sessions work and everything happens at once.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
CONFIG = (
    "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[coord]\n\tautosync = false\n"
)
PRICES = "def total(items):\n    return sum(items)\n"


def git(where: Path, *args: str) -> None:
    subprocess.run(["git", "-C", str(where), *args], check=True, capture_output=True)


def prepare(place: Path) -> Path:
    """A repository with four worktrees, whose sessions talk, work, wait, collide and fail."""
    from gitcoord import Coord
    from gitcoord.sessions.presence import register

    shop = place / "shop"
    git(place, "init", "-q", str(shop))
    (shop / "prices.py").write_text(PRICES)
    (shop / "basket.py").write_text(PRICES)
    git(shop, "add", ".")
    git(shop, "commit", "-qm", "Add prices")
    open_ones = {}
    for name, focus in (("api", "prices with VAT"), ("web", "the receipt page"), ("tests", "slow tests"), ("docs", "")):
        git(shop, "worktree", "add", "-q", "-b", f"{name}-work", str(place / name))
        coord = Coord.open(place / name, as_name=name)
        coord.speak_as(coord.identity._replace(rule="GIT_COORD_SESSION"))
        register(coord.clone, coord.identity, git_dir=coord.clone.repo.git_dir, worktree=str(place / name), focus=focus)
        coord.speak_as(coord.identity._replace(record=None))
        open_ones[name] = coord
    api, web, tests, docs = (open_ones[name] for name in ("api", "web", "tests", "docs"))

    (place / "api" / "prices.py").write_text("def total(items, vat):\n    return sum(items) * (1 + vat)\n")
    (place / "api" / "rates.py").write_text("VAT = 0.19\n")
    (place / "web" / "prices.py").write_text("def total(items, coupon=0):\n    return sum(items) - coupon\n")
    vat = api.tasks.add("Charge VAT in the basket", "Rates differ by country; see the note.", priority=1, labels=["prices"])
    receipt = api.tasks.add("Show VAT on the receipt", needs=[vat.id])
    api.tasks.add("Round to cents, not to euros", priority=0, labels=["prices"])
    slow = tests.tasks.add("The checkout tests take nine minutes", priority=3)
    done = docs.tasks.add("Say how refunds work")
    docs.tasks.claim(done.id)
    docs.tasks.done(done.id, "on main")
    api.tasks.claim(vat.id)
    tests.tasks.claim(slow.id)
    tests.tasks.block(slow.id, "needs a second database; may I start one?")
    api.notes.add("VAT is a fraction: 0.19, not 19", [])
    question = api.send("web", "total() takes the VAT rate now; can you pass it from the receipt?", needs_ack=True)
    web.messages.mark_read(web.inbox().messages)
    web.messages.reply(question.id, "Yes, after lunch. Is it a fraction or a percentage?")
    api.messages.mark_read(api.inbox().messages)
    api.messages.reply(question.id, "A fraction: 0.19.")
    docs.send("all", "I rename “article” to “product” in all pages. Shout if that hurts.")
    api.send("ada-lovelace", "May I change the rounding of old invoices too? It touches 41 of them.", needs_ack=True)
    web.send("ada-lovelace", "The receipt page is ready for a look: branch web-work.")
    web.locks.take(["templates/"], reason="the new receipt page", ttl=3 * 3600)
    register(tests.clone, tests.identity, waiting=True)
    jobs(place, shop)
    for coord in open_ones.values():
        coord.close()
    assert receipt
    return shop


def jobs(place: Path, shop: Path) -> None:
    """Start three jobs: one that runs, one that fails, one that succeeds."""
    program = [sys.executable, "-m", "gitcoord", "run"]
    end = "import sys; print('collected 214 items'); sys.exit('AssertionError: 2 of 214 tests failed')"
    for session, name, argv in (
        ("web", "lint", [sys.executable, "-c", "print('all clean')"]),
        ("api", "pytest", [sys.executable, "-c", end]),
    ):
        environ = {**os.environ, "GIT_COORD_SESSION": session}
        subprocess.run(
            [*program, "--name", name, "--", *argv], cwd=place / session, env=environ, capture_output=True, check=False
        )
    serve = "import time\nfor n in range(600): print(f'GET /receipt/{n} 200', flush=True); time.sleep(1)"
    environ = {**os.environ, "GIT_COORD_SESSION": "web"}
    argv = [*program, "--name", "devserver", "--detach", "--", sys.executable, "-c", serve]
    subprocess.run(argv, cwd=place / "web", env=environ, capture_output=True, check=True)


async def terminal(shop: Path) -> None:
    """The terminal's pictures, as Textual draws them."""
    from gitcoord.ui.desk import Desk
    from gitcoord.ui.terminal.app import LiveView

    for theme in ("dark", "light"):
        desk = Desk(str(shop))
        desk.check()
        app = LiveView(desk)
        async with app.run_test(size=(120, 34)) as pilot:
            app.theme = f"textual-{theme}"
            await settled(app, pilot)
            await pilot.press("2", "j")
            await pilot.pause(0.5)
            save_svg(f"terminal-{theme}", app.export_screenshot(title="git coord ui"))


async def settled(app: object, pilot: object) -> None:
    for _ in range(100):
        await pilot.pause(0.1)  # type: ignore[attr-defined]
        shown = app.shown  # type: ignore[attr-defined]
        if shown is not None and shown.pairs:
            return


def save_svg(name: str, svg: str) -> None:
    """Save an SVG without the fonts that Textual would fetch from a web server."""
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    (PICTURES / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n")


def browser(shop: Path) -> None:
    """The browser's pictures."""
    from playwright.sync_api import sync_playwright

    server = subprocess.Popen(
        [sys.executable, "-m", "gitcoord", "ui", "--web"], cwd=shop, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    link = server.stdout.readline().strip()
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            context = chromium.new_context(viewport={"width": 1180, "height": 720}, color_scheme="dark")
            page = context.new_page()
            page.goto(link)
            page.get_by_text("will not merge").first.wait_for()
            for theme in ("dark", "light"):
                page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
                page.keyboard.press("2")
                page.locator("#rows .row").nth(2).click()
                time.sleep(0.4)
                shot(page, f"conversation-{theme}")
                page.mouse.move(0, 0)
                page.keyboard.press("3")
                page.locator("#rows .row", has_text="The checkout tests").click()
                page.mouse.move(0, 0)
                time.sleep(0.6)
                shot(page, f"board-{theme}")
            chromium.close()
    finally:
        server.terminate()
        server.wait()


def shot(page: object, name: str) -> None:
    """A picture in few bytes: an indexed PNG where pngquant is there."""
    path = PICTURES / f"{name}.png"
    page.screenshot(path=str(path))  # type: ignore[attr-defined]
    subprocess.run(
        ["sh", "-c", f"command -v pngquant >/dev/null && pngquant --force --ext .png 64 '{path}' || true"], check=True
    )


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gitcoord-pictures-") as home:
        for name in list(os.environ):
            if name.startswith(("GIT_", "CLAUDE", "CODEX", "AI_AGENT", "AGENT", "NO_COLOR")):
                del os.environ[name]
        os.environ |= {"HOME": home, "GIT_CONFIG_NOSYSTEM": "1", "PYTHONPATH": str(ROOT)}
        (Path(home) / ".gitconfig").write_text(CONFIG)
        place = Path(home) / "work"
        place.mkdir()
        shop = prepare(place)
        if "--keep" in sys.argv:
            input(f"{shop}\n")
            return
        asyncio.run(terminal(shop))
        browser(shop)


if __name__ == "__main__":
    main()
