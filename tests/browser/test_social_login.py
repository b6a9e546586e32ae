"""Social login in a real browser: buttons, the way there and back, and a link that leads on from a form."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from media_gateway.core.adapters.postgres import Database
from tests.browser.test_device_page import CHROMIUM
from tests.support.credentials import add_person
from tests.support.devices import PASSWORD
from tests.support.oidc_provider import Provider, provider
from tests.support.social import provider_entry, serve_social

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)


@dataclass
class Stage:
    work: Provider
    url: str
    browser: Browser

    async def visitor(self) -> Page:
        context = await self.browser.new_context(
            viewport={"width": 390, "height": 844}, java_script_enabled=False
        )
        page = await context.new_page()
        page.set_default_timeout(20_000)
        return page


@pytest.fixture
async def stage(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with provider() as work, async_playwright() as playwright:
        work.person = {"sub": "ann", "email": "ann@tv.example", "email_verified": True}
        server = await serve_social(
            database_url, redis_url, tmp_path, [provider_entry(work)], drain_timeout_s=4
        )
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Stage(work, server.url, browser)
        finally:
            await browser.close()
            await server.drain()


async def test_a_button_leads_there_and_back(stage: Stage):
    page = await stage.visitor()
    await page.goto(f"{stage.url}/device?user_code=BCDF-GHJK")
    button = page.get_by_role("link", name="Continue with Work")
    box = await button.bounding_box()
    assert box is not None
    assert box["height"] >= 44  # a finger hits it
    await button.click()
    await expect(page.get_by_text("Signed in as ann@tv.example")).to_be_visible()
    assert page.url == f"{stage.url}/device?user_code=BCDF-GHJK"


async def test_an_account_is_linked_by_its_owner_alone(stage: Stage, database: Database):
    await add_person(database)
    page = await stage.visitor()
    await page.goto(f"{stage.url}/auth/sign-in")
    await page.get_by_role("link", name="Continue with Work").click()
    await expect(page.get_by_role("alert")).to_contain_text("There is an account with your e-mail address")
    await page.get_by_role("link", name="Sign in with your password").click()
    await page.get_by_label("E-mail address").fill("ann@tv.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    # The browser lets the form lead on to the provider.
    await page.get_by_role("button", name="Continue to Work").click()
    await expect(page.get_by_role("status")).to_contain_text("you can sign in with Work, too")
    another = await stage.visitor()
    await another.goto(f"{stage.url}/auth/sign-in")
    await another.get_by_role("link", name="Continue with Work").click()
    await expect(another.get_by_text("Signed in as ann@tv.example")).to_be_visible()
