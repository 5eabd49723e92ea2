import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { parseDatabaseUrl, readConfig, root } from '../../src/config.ts';
import type { PostgresTarget } from '../../src/config.ts';

const good = { JWT_SECRET: 's', NODE_ENV: 'test', DATABASE_URL: 'sqlite::memory:' };

describe('configuration', () => {
  test('it is refused without each of its variables, in one line', () => {
    assert.doesNotThrow(() => readConfig(good));
    for (const name of Object.keys(good)) {
      assert.throws(() => readConfig({ ...good, [name]: undefined }), (error: Error) => {
        assert.match(error.message, new RegExp(`^configuration: ${name} [^\n]*$`));
        return true;
      });
    }
    assert.throws(() => readConfig({ ...good, NODE_ENV: 'prod' }), /NODE_ENV must be one of/);
    assert.throws(() => readConfig({ ...good, PORT: 'x' }), /PORT/);
  });

  test('an error does not repeat the URL, which may hold a password', () => {
    for (const DATABASE_URL of ['mysql://u:hunter2@h/d', 'postgresql://u:hunter2%zz@h/d', 'postgresql://u:hunter2@h/d?sslmode=maybe']) {
      assert.throws(() => readConfig({ ...good, DATABASE_URL }), (error: Error) => !error.message.includes('hunter2'));
    }
  });

  test('PostgreSQL URLs', () => {
    const full = parseDatabaseUrl('postgresql://a%40b:p%40ss%3A%2F@db.example:6432/my%20db?sslmode=disable') as PostgresTarget;
    assert.deepEqual(
      [full.username, full.password, full.host, full.port, full.database, full.ssl],
      ['a@b', 'p@ss:/', 'db.example', 6432, 'my db', false],
    );
    const socket = parseDatabaseUrl('postgres://u@/d?host=/run/postgresql&port=5433') as PostgresTarget;
    assert.deepEqual([socket.host, socket.port, socket.username, socket.database], ['/run/postgresql', 5433, 'u', 'd']);
    assert.equal((parseDatabaseUrl('postgresql://[::1]/d') as PostgresTarget).host, '::1');
    const ssl = (mode: string): unknown => (parseDatabaseUrl(`postgresql://h/d?sslmode=${mode}`) as PostgresTarget).ssl;
    assert.equal(ssl('prefer'), false);
    assert.deepEqual(ssl('require'), { rejectUnauthorized: false });
    assert.deepEqual(ssl('verify-full'), { rejectUnauthorized: true });
  });

  test('SQLite URLs', () => {
    assert.deepEqual(parseDatabaseUrl('sqlite:./a.sqlite'), { dialect: 'sqlite', storage: path.join(root, 'a.sqlite') });
    assert.deepEqual(parseDatabaseUrl('sqlite:///srv/a.sqlite'), { dialect: 'sqlite', storage: '/srv/a.sqlite' });
    assert.deepEqual(parseDatabaseUrl('sqlite::memory:'), { dialect: 'sqlite', storage: ':memory:' });
  });
});
