import assert from 'node:assert/strict';
import { readFileSync, realpathSync, rmSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
// @ts-expect-error plain JavaScript, so that it needs nothing installed
import { manifestOf } from '../../scripts/manifest.mjs';
import { root, version } from '../../src/config.ts';
import { migrationFiles, release } from '../../src/release.ts';
import { mintToken, readToken } from '../../src/token.ts';
import { script, temporaryFolder } from '../helpers.ts';

const json = (...parts: string[]): any => JSON.parse(readFileSync(path.join(...parts), 'utf8'));
const releases = json(root, 'releases.json') as Record<string, { last_migration: string }>;

describe('release', () => {
  test('the manifest is in step with the migration files', () => {
    assert.deepEqual(json(root, 'migration-manifest.json'), manifestOf(path.join(root, 'migrations')));
    assert.deepEqual(json(root, 'migration-manifest.json').map((entry: { name: string }) => entry.name), migrationFiles());
  });

  test('this checkout is one of the releases', () => {
    assert.equal(migrationFiles().at(-1), releases[version]?.last_migration);
    assert.equal(json(root, 'package-lock.json').version, version);
  });

  test('the lock file names no registry', () => {
    assert.ok(!readFileSync(path.join(root, 'package-lock.json'), 'utf8').includes('"resolved"'));
  });

  for (const [name, { last_migration: last }] of Object.entries(releases)) {
    const possible = migrationFiles().includes(last);
    test(`a checkout of ${name} has its migrations and no others`, { skip: !possible }, async () => {
      const folder = temporaryFolder();
      try {
        const made = await script('scripts/make-release.mjs', [name, path.join(folder, 'r')], {});
        assert.equal(made.code, 0, made.stderr);
        const at = path.join(folder, 'r');
        assert.equal(json(at, 'package.json').version, name);
        assert.deepEqual(json(at, 'migration-manifest.json'), manifestOf(path.join(at, 'migrations')));
        assert.equal(json(at, 'migration-manifest.json').at(-1).name, last);
        assert.equal(realpathSync(path.join(at, 'node_modules')), realpathSync(path.join(root, 'node_modules')));
        const again = await script('scripts/make-release.mjs', [name, at], {});
        assert.equal(again.code, 2);
        assert.match(again.stderr, /not empty/);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }

  test('the flags follow the migrations', () => {
    assert.equal(release.priority, version >= '1.2.0');
    assert.equal(release.longTitles, version >= '1.1.0');
  });
});

describe('token', () => {
  test('only its own, unchanged and in time', () => {
    const token = mintToken('A@b.test', 'secret');
    assert.equal(readToken(token, 'secret'), 'a@b.test');
    assert.equal(readToken(token, 'other'), undefined);
    const [head, , tail] = token.split('.');
    const claims = Buffer.from(JSON.stringify({ email: 'x@b.test', exp: 9e9 })).toString('base64url');
    assert.equal(readToken(`${head}.${claims}.${tail}`, 'secret'), undefined);
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    assert.equal(readToken(`${none}.${claims}.`, 'secret'), undefined);
    assert.equal(readToken(mintToken('a@b.test', 'secret', -1), 'secret'), undefined);
  });
});
