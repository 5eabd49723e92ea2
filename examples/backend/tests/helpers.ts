import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Sequelize } from 'sequelize';
import { createApp } from '../src/app.ts';
import { parseDatabaseUrl, readConfig, root } from '../src/config.ts';
import type { Config } from '../src/config.ts';
import { connect } from '../src/database.ts';

export interface Answer {
  status: number;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  body: any;
  ms: number;
}

export async function call(base: string, route: string, init: { method?: string; body?: unknown; token?: string } = {}): Promise<Answer> {
  const started = performance.now();
  const response = await fetch(base + route, {
    method: init.method ?? 'GET',
    headers: {
      'content-type': 'application/json',
      ...(init.token === undefined ? {} : { authorization: `Bearer ${init.token}` }),
    },
    ...(init.body === undefined ? {} : { body: JSON.stringify(init.body) }),
    signal: AbortSignal.timeout(10_000),
  });
  return { status: response.status, body: await response.json(), ms: performance.now() - started };
}

/** The application in this process, on a free port of the loopback address. */
export async function serve(config: Config, sequelize: Sequelize): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createApp(config, sequelize).listen(0, '127.0.0.1');
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface Scratch {
  name: string;
  url: string;
  env: Record<string, string>;
  config: (extra?: Record<string, string>) => Config;
  folder: string;
  /** A connection to the server's other database: what is done with the scratch one is done from there. */
  admin: Sequelize | undefined;
  remove: () => Promise<void>;
}

function scratch(name: string, url: string, folder: string, admin: Sequelize | undefined, remove: () => Promise<void>): Scratch {
  const env = { DATABASE_URL: url, JWT_SECRET: 'test-secret', NODE_ENV: 'test', HOST: '127.0.0.1', PORT: '0' };
  return { name, url, env, folder, admin, remove, config: (extra = {}) => readConfig({ ...env, ...extra }) };
}

export function temporaryFolder(): string {
  return mkdtempSync(path.join(os.tmpdir(), 'balcon-backend-'));
}

/** An empty SQLite file, and an empty database on the server in TEST_POSTGRES_URL when that is given. */
export const scratchMakers: Record<string, () => Promise<Scratch>> = {
  sqlite: async () => {
    const folder = temporaryFolder();
    const url = `sqlite:${path.join(folder, 'test.sqlite')}`;
    await connect(parseDatabaseUrl(url), { create: true }).query('VACUUM');
    return scratch('sqlite', url, folder, undefined, async () => rmSync(folder, { recursive: true }));
  },
};

const server = process.env.TEST_POSTGRES_URL;
if (server) {
  scratchMakers.postgres = async () => {
    const folder = temporaryFolder();
    const admin = connect(parseDatabaseUrl(server));
    const name = `balcon_test_${randomBytes(6).toString('hex')}`;
    await admin.query(`CREATE DATABASE ${name}`);
    const url = server.replace(/^([a-z]+:\/\/[^/?]*)(\/[^?]*)?/, `$1/${name}`);
    return scratch('postgres', url, folder, admin, async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.close();
      rmSync(folder, { recursive: true });
    });
  };
}

export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

// Nothing of the caller's own environment that the application reads may get in.
const clean = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '' };

export function script(file: string, args: string[], env: Record<string, string>, cwd = root): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import', 'tsx', file, ...args], { cwd, env: { ...clean, ...env } },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? 255) : 0, stdout, stderr }));
  });
}

export interface RunningServer {
  url: string;
  child: ChildProcess;
  output: () => string;
  stop: () => Promise<number | null>;
}

const started = new Set<ChildProcess>();

/** Ends the servers that a failed test has left running. */
export function stopServers(): void {
  for (const child of started) child.kill('SIGKILL');
  started.clear();
}

export function startServer(env: Record<string, string>, cwd = root): Promise<RunningServer> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/server.ts'], { cwd, env: { ...clean, ...env } });
  started.add(child);
  let output = '';
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return new Promise((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      output += chunk.toString();
      const url = /listens on (http:\S+)/.exec(output)?.[1];
      if (!url) return;
      resolve({
        url,
        child,
        output: () => output,
        stop: () => {
          child.kill('SIGTERM');
          return ended;
        },
      });
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    void ended.then((code) => reject(new Error(`the server ended with ${code}: ${output}`)));
  });
}

export async function until<T>(what: string, ms: number, probe: () => Promise<T | undefined | false>): Promise<T> {
  const limit = performance.now() + ms;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (performance.now() > limit) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
