// A headless Chromium that notices what no page of ours may do: write errors to the console, ask other origins.
import { existsSync, mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

export const WIDE = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

const WAIT_MS = 60_000; // Of a machine that does much else.

export interface Look {
  dark?: boolean;
  phone?: boolean;
}

function executable(name: string): string {
  const found = (process.env.PATH ?? '').split(delimiter).map(place => join(place, name));
  return found.find(existsSync) ?? name;
}

export class Visitor {
  readonly faults: string[] = [];
  allowFailures = false; // While the program is stopped, failing requests are no fault.

  private constructor(
    private readonly browser: Browser,
    private readonly origin: string,
    private readonly results: string
  ) {
    mkdirSync(results, { recursive: true });
  }

  static async start(origin: string, results: string): Promise<Visitor> {
    // Chromium's own sandbox does not work for root, as whom tests run in containers.
    const browser = await chromium.launch({
      executablePath: executable('chromium'),
      args: ['--no-sandbox', '--disable-dev-shm-usage']
    });
    return new Visitor(browser, origin, results);
  }

  async context(look: Look = {}): Promise<BrowserContext> {
    const context = await this.browser.newContext({
      viewport: look.phone ? PHONE : WIDE,
      colorScheme: look.dark ? 'dark' : 'light',
      reducedMotion: 'reduce',
      hasTouch: look.phone ?? false
    });
    context.setDefaultTimeout(WAIT_MS);
    context.on('request', request => {
      const url = request.url();
      if (!url.startsWith(this.origin) && !url.startsWith('data:')) this.faults.push(`asked ${url}`);
    });
    context.on('console', message => {
      const failed = message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !(failed && this.allowFailures)) this.faults.push(`console: ${message.text()}`);
    });
    context.on('weberror', error => this.faults.push(`error: ${error.error().stack}`));
    return context;
  }

  // A page of its own context at `path`.
  async open(path: string, look: Look = {}): Promise<Page> {
    const page = await (await this.context(look)).newPage();
    await page.goto(this.origin + path);
    return page;
  }

  async shoot(page: Page, name: string): Promise<void> {
    await page.screenshot({ path: join(this.results, `${name}.png`) });
  }

  async stop(): Promise<void> {
    await this.browser.close();
  }
}

// Controls that a screen reader could not name.
export async function unnamed(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const named = (element: Element) =>
      (element.getAttribute('aria-label') ?? element.textContent ?? '').trim() !== '' ||
      (element as HTMLInputElement).labels?.[0]?.textContent?.trim();
    return [...document.querySelectorAll('a, button, input, select, textarea, summary')]
      .filter(element => !named(element))
      .map(element => element.outerHTML.slice(0, 120));
  });
}

// How far the document is wider than the window.
export async function overflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}
