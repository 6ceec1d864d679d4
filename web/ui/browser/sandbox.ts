// `tidewright sandbox` with the examples, started on free ports, and with something to see on each view: a target that is
// down, alerts in each state, a rule that fails.
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS = 60_000;

const RULES = `groups:
  - name: page
    rules:
      - alert: AlwaysFiring
        expr: vector(42)
        labels: {severity: page}
        annotations: {summary: "This is {{ $value }}", runbook: "https://runbooks.example/always"}
      - alert: Waiting
        expr: up{job="unreachable"} == 0
        for: 1h
      - alert: Quiet
        expr: up == 2
      - record: broken
        expr: up + on() up
`;

function prepare(folder: string, source: string): string {
  const examples = join(folder, 'examples');
  cpSync(join(source, 'examples'), examples, { recursive: true });
  writeFileSync(join(examples, 'tidewright', 'page.yaml'), RULES);
  const config = join(examples, 'tidewright', 'prometheus.yml');
  const text = readFileSync(config, 'utf8')
    .replace('  - rules.yaml', '  - rules.yaml\n  - page.yaml')
    .concat('\n  - job_name: unreachable\n    static_configs:\n      - targets: ["127.0.0.1:9"]\n');
  writeFileSync(config, text);
  return examples;
}

export class Sandbox {
  private constructor(
    readonly url: string, // Without a slash at its end.
    private readonly queue: number, // The process of the redis-server that it started.
    private readonly child: ChildProcess,
    private readonly folder: string
  ) {}

  static async start(binary: string, source: string): Promise<Sandbox> {
    const folder = mkdtempSync(join(tmpdir(), 'tidewright-page-'));
    const examples = prepare(folder, source);
    const child = spawn(
      binary,
      ['sandbox', '--plain', '--web-port', '0', '--examples', examples, '--for', '10m'].concat([
        '--kubeconfig',
        join(folder, 'kubeconfig'),
        '--log-file',
        join(folder, 'log')
      ]),
      { stdio: ['ignore', 'pipe', 'pipe'] }
    );
    try {
      const { url, queue } = await started(child);
      return new Sandbox(url, queue, child, folder);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  // Takes away what the queue worker is scaled by.
  killQueue(): void {
    process.kill(this.queue, 'SIGKILL');
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null) {
      const ended = new Promise(resolve => this.child.once('exit', resolve));
      this.child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

// From the lines "page      http://127.0.0.1:1234/" and "queue     redis-server ..., pid 12" of its output. What comes after
// them is not kept.
function started(child: ChildProcess): Promise<{ url: string; queue: number }> {
  return new Promise((resolve, reject) => {
    let output = '';
    let found = false;
    const timer = setTimeout(() => reject(new Error(`the sandbox did not start: ${output}`)), START_MS);
    const read = (bytes: Buffer) => {
      if (found) return;
      output += bytes.toString();
      const url = /^\s*page\s+(http:\S+)\/$/m.exec(output)?.[1];
      const queue = /^\s*queue\s.*\bpid (\d+)$/m.exec(output)?.[1];
      if (!url || !queue) return;
      found = true;
      clearTimeout(timer);
      resolve({ url, queue: Number(queue) });
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('exit', code => {
      clearTimeout(timer);
      reject(new Error(`the sandbox ended with ${code}: ${output}`));
    });
  });
}
