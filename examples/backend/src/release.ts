// A release expects the schema that its own migrations make, and nothing newer.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { root, version } from './config.ts';

export const migrationsFolder = path.join(root, 'migrations');

export function migrationFiles(): string[] {
  return readdirSync(migrationsFolder)
    .filter((name) => /^\d{14}-[a-z0-9-]+\.ts$/.test(name))
    .sort();
}

const files = migrationFiles();
const has = (stamp: string): boolean => files.some((name) => name.startsWith(stamp));

export const release = {
  version,
  /** since 1.1.0: titles of up to 200 characters, and a subtitle */
  longTitles: has('20240106000000'),
  /** since 1.2.0 */
  priority: has('20240107000000'),
};
