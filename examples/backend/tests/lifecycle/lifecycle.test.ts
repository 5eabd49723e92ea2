import assert from 'node:assert/strict';
import { renameSync, copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, afterEach, before, describe, test } from 'node:test';
import { QueryTypes } from 'sequelize';
import type { Sequelize } from 'sequelize';
import { root, version } from '../../src/config.ts';
import { connect } from '../../src/database.ts';
import { Migrator } from '../../src/migrator.ts';
import { migrationFiles, release } from '../../src/release.ts';
import { call, scratchMakers, script, serve, startServer, stopServers, until } from '../helpers.ts';
import type { Scratch } from '../helpers.ts';

const migrate = (s: Scratch, command: string, env = {}): ReturnType<typeof script> =>
  script('src/cli/migrate.ts', [command], { ...s.env, ...env });

const seed = async (s: Scratch, ...args: string[]): Promise<void> => {
  const { code, stderr } = await script('src/cli/seed.ts', ['--users', '20', '--projects', '200', ...args], s.env);
  assert.equal(code, 0, stderr);
};

async function one<T>(sequelize: Sequelize, sql: string): Promise<T> {
  const [row] = await sequelize.query<{ value: T }>(sql, { type: QueryTypes.SELECT });
  return (row as { value: T }).value;
}

/** The schema as the catalogue has it, without the state table. */
async function schemaOf(sequelize: Sequelize): Promise<unknown[]> {
  return sequelize.query(
    sequelize.getDialect() === 'sqlite'
      ? "SELECT name, sql FROM sqlite_master WHERE tbl_name NOT IN ('migrations_meta', 'sqlite_sequence') ORDER BY name"
      : `SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default FROM information_schema.columns
           WHERE table_schema = 'public' AND table_name <> 'migrations_meta'
         UNION ALL SELECT tablename, indexname, indexdef, 0, '', '' FROM pg_indexes
           WHERE schemaname = 'public' AND tablename <> 'migrations_meta'
         UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), 0, '', '' FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace AND conrelid <> 'migrations_meta'::regclass
         ORDER BY 1, 2, 3`,
    { type: QueryTypes.SELECT },
  );
}

for (const [dialect, make] of Object.entries(scratchMakers)) {
  describe(`on ${dialect}`, () => {
    let s: Scratch;
    let sequelize: Sequelize;

    before(async () => {
      s = await make();
      sequelize = connect(s.config().target);
    });
    after(async () => {
      await sequelize.close();
      await s.remove();
    });

    afterEach(stopServers);

    const columns = async (table: string): Promise<string[]> => Object.keys(await sequelize.getQueryInterface().describeTable(table));
    const state = (): Promise<{ executed: string[]; pending: string[] }> => new Migrator(sequelize, () => undefined).status();

    test('an empty database: status writes nothing, down has nothing to revert and exits 0', async () => {
      const status = await migrate(s, 'status');
      assert.equal(status.code, 0, status.stderr);
      assert.match(status.stdout, /^\[.*\n\{\n {2}executed: \[\],\n {2}pending: \[\n {4}'20240101000000-initial-schema\.ts',/);
      const down = await migrate(s, 'down');
      assert.equal(down.code, 0);
      assert.match(down.stdout, /nothing to revert/);
      assert.deepEqual(await sequelize.getQueryInterface().showAllTables(), []);
    });

    test('all the way up, down step by step to nothing, and up to the same schema', async () => {
      assert.equal((await migrate(s, 'up')).code, 0);
      const first = await schemaOf(sequelize);
      const files = migrationFiles();
      assert.deepEqual(await state(), { executed: files, pending: [] });
      if (release.priority) {
        await new Migrator(sequelize, () => undefined).down();
        assert.ok(!(await columns('projects')).includes('priority'));
      }
      while ((await state()).executed.length > 0) {
        const { executed } = await state();
        const reverted = await new Migrator(sequelize, () => undefined).down();
        assert.equal(reverted, executed.at(-1));
        assert.deepEqual((await state()).executed, executed.slice(0, -1));
      }
      assert.deepEqual(await schemaOf(sequelize), []);
      assert.equal((await migrate(s, 'up')).code, 0);
      assert.deepEqual(await schemaOf(sequelize), first);
    });

    test('the migrations carry the rows along', async () => {
      const back = new Migrator(sequelize, () => undefined);
      while ((await state()).executed.length > 1) await back.down();
      await seed(s);
      assert.equal(Number(await one(sequelize, "SELECT count(*) AS value FROM users WHERE email LIKE 'User%'")), 20);
      assert.equal((await migrate(s, 'up')).code, 0);
      assert.equal(Number(await one(sequelize, "SELECT count(*) AS value FROM users WHERE company LIKE 'Builder %' AND phone LIKE '+49 30 %'")), 20);
      assert.equal(Number(await one(sequelize, 'SELECT count(*) AS value FROM users WHERE email <> lower(email)')), 0);
      assert.equal(Number(await one(sequelize, 'SELECT count(*) AS value FROM projects')), 200);
      await seed(s);
      assert.equal(Number(await one(sequelize, 'SELECT count(*) AS value FROM projects')), 200);
      assert.equal(Number(await one(sequelize, 'SELECT count(*) AS value FROM project_files')), 10);
      if (release.priority) {
        assert.equal(Number(await one(sequelize, 'SELECT count(*) AS value FROM projects WHERE priority = 4')), 200);
        await back.down();
        assert.equal(Number(await one(sequelize, 'SELECT count(*) AS value FROM project_files')), 10);
        await back.up();
      }
    });

    test('a long title makes the down of widen-project-title fail half-way', { skip: !release.longTitles }, async () => {
      await seed(s, '--long-titles', '2');
      if (release.priority) assert.equal((await migrate(s, 'down')).code, 0);
      const failed = await migrate(s, 'down');
      assert.equal(failed.code, 1);
      assert.match(failed.stderr, /error: down failed: .+/);
      assert.equal((await state()).executed.at(-1), '20240106000000-widen-project-title.ts');
      assert.ok(!(await columns('projects')).includes('subtitle'));
      assert.match(JSON.stringify(await schemaOf(sequelize)), /200/);

      // With the database in this state the release finds its schema broken, and says so.
      const server = await serve(s.config(), sequelize);
      try {
        const deep = await call(server.url, '/api/health/deep');
        assert.equal(deep.status, 500);
        assert.equal(deep.body.ok, false);
        assert.equal((await call(server.url, '/api/projects')).status, 500);
      } finally {
        await server.close();
      }
      await sequelize.query("DELETE FROM projects WHERE client_reference LIKE 'seed-long-%'");
      await sequelize.query('ALTER TABLE projects ADD COLUMN subtitle varchar(80)');
      if (dialect === 'sqlite') await sequelize.query('ALTER TABLE projects DROP COLUMN title_new');
      assert.equal((await migrate(s, 'down')).code, 0);
      assert.equal((await migrate(s, 'up')).code, 0);
    });

    test('a migration whose file is not in the release cannot be reverted', async () => {
      const name = '20991231000000-from-the-future.ts';
      await sequelize.getQueryInterface().bulkInsert('migrations_meta', [{ name, executed_at: new Date() }]);
      const down = await migrate(s, 'down');
      assert.equal(down.code, 1);
      assert.match(down.stderr, /not in this release/);
      await sequelize.getQueryInterface().bulkDelete('migrations_meta', { name });
      assert.deepEqual((await state()).executed, migrationFiles());
    });

    test('the integration tests pass, leave no row behind, and the pattern selects', async () => {
      const count = async (): Promise<number[]> => [
        Number(await one(sequelize, 'SELECT count(*) AS value FROM users')),
        Number(await one(sequelize, 'SELECT count(*) AS value FROM projects')),
      ];
      const rows = await count();
      const all = await script('scripts/test.mjs', ['tests/integration'], s.env);
      assert.equal(all.code, 0, all.stdout);
      assert.match(all.stdout, /a project that was acknowledged is there/);
      assert.deepEqual(await count(), rows);
      const some = await script('scripts/test.mjs', ['tests/integration', '--testNamePattern=Health'], { ...s.env, MAINTENANCE_MODE: 'true' });
      assert.equal(some.code, 0, some.stdout);
      assert.match(some.stdout, /api\/health is ok/);
      assert.doesNotMatch(some.stdout, /acknowledged/);
      const none = await script('scripts/test.mjs', ['tests/integration', '--testNamePattern=nosuchtest'], s.env);
      assert.equal(none.code, 1);
    });

    test('MIGRATE_ON_START applies what is pending, and without it nothing is', async () => {
      await new Migrator(sequelize, () => undefined).down();
      const plain = await startServer(s.env);
      assert.equal((await call(plain.url, '/api/health/deep')).body.migrations.pending, 1);
      await plain.stop();
      const eager = await startServer({ ...s.env, MIGRATE_ON_START: 'true' });
      const deep = await call(eager.url, '/api/health/deep');
      assert.equal(deep.status, 200);
      assert.deepEqual(deep.body.migrations, { pending: 0, executed: migrationFiles().length });
      const started = performance.now();
      assert.equal(await eager.stop(), 0);
      assert.ok(performance.now() - started < 500, 'SIGTERM ends it at once');
    });

    test('maintenance: by variable, by file, and ignored', async () => {
      const flag = path.join(s.folder, 'maintenance');
      const body = { title: 'written in maintenance' };
      const look = async (extra: Record<string, string>): Promise<[number, boolean, number]> => {
        const server = await serve(s.config(extra), sequelize);
        try {
          const health = await call(server.url, '/api/health');
          const deep = await call(server.url, '/api/health/deep');
          const post = await call(server.url, '/api/projects', { method: 'POST', body });
          assert.equal(health.status, 200);
          assert.equal(deep.status === 503, health.body.maintenance);
          if (post.status === 503) assert.equal(post.body.maintenance, true);
          return [health.status, health.body.maintenance, post.status];
        } finally {
          await server.close();
        }
      };
      assert.deepEqual(await look({ MAINTENANCE_MODE: 'true' }), [200, true, 503]);
      assert.deepEqual(await look({ MAINTENANCE_MODE: 'true', IGNORE_MAINTENANCE: 'true' }), [200, false, 201]);
      assert.deepEqual(await look({ MAINTENANCE_FILE: flag }), [200, false, 201]);
      const server = await serve(s.config({ MAINTENANCE_FILE: flag }), sequelize);
      assert.equal((await call(server.url, '/api/projects')).status, 200);
      writeFileSync(flag, '');
      assert.equal((await call(server.url, '/api/projects')).status, 503);
      rmSync(flag);
      assert.equal((await call(server.url, '/api/projects')).status, 200);
      await server.close();
    });

    test('the webhook is sent, and is not when outbound is disabled', async () => {
      let received = 0;
      const hook = createServer((_request, response) => {
        received += 1;
        response.end();
      }).listen(0, '127.0.0.1');
      await new Promise((resolve) => hook.once('listening', resolve));
      const WEBHOOK_URL = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`;
      const create = async (extra: Record<string, string>): Promise<void> => {
        const server = await serve(s.config({ WEBHOOK_URL, ...extra }), sequelize);
        assert.equal((await call(server.url, '/api/projects', { method: 'POST', body: { title: 'hook' } })).status, 201);
        await server.close();
      };
      await create({});
      await until('the webhook', 2000, async () => received === 1);
      await create({ OUTBOUND_DISABLED: 'true' });
      await new Promise((resolve) => setTimeout(resolve, 150));
      assert.equal(received, 1);
      hook.closeAllConnections();
      hook.close();
    });

    test('older releases work with their own schema', { skip: version !== '1.2.0' }, async () => {
      for (const [older, fields] of [['1.1.0', ['subtitle']], ['1.0.0', []]] as const) {
        await new Migrator(sequelize, () => undefined).down();
        const at = path.join(s.folder, older);
        assert.equal((await script('scripts/make-release.mjs', [older, at], {})).code, 0);
        const server = await startServer(s.env, at);
        const created = await call(server.url, '/api/projects', { method: 'POST', body: { title: 'old', priority: 1 } });
        assert.equal(created.status, 201);
        const [row] = (await call(server.url, '/api/projects?limit=1')).body;
        assert.deepEqual(['subtitle', 'priority'].filter((name) => name in row), fields);
        const deep = await call(server.url, '/api/health/deep');
        assert.equal(deep.body.ok, true);
        assert.equal(deep.body.release, older);
        assert.equal(deep.body.migrations.pending, 0);
        await server.stop();
        assert.equal((await script('scripts/test.mjs', ['tests/integration'], s.env, at)).code, 0);
      }
      assert.equal((await migrate(s, 'up')).code, 0);
    });

    if (dialect === 'postgres') {
      test('the database is closed under writers and opened again: no crash, no lost write', async () => {
        const admin = s.admin as Sequelize;
        const name = s.config().target.dialect === 'postgres' ? (s.config().target as { database: string }).database : '';
        const server = await startServer(s.env);
        const acknowledged: string[] = [];
        const statuses = new Map<number, number>();
        let slowest = 0;
        let running = true;
        let number = 0;
        const deadline = performance.now() + 15_000;
        const writer = async (): Promise<void> => {
          while (running && performance.now() < deadline) {
            const client_reference = `writer-${number++}`;
            const answer = await call(server.url, '/api/projects', { method: 'POST', body: { title: 'w', client_reference } });
            statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
            if (answer.status === 201) acknowledged.push(client_reference);
            else slowest = Math.max(slowest, answer.ms);
            if (answer.status !== 201) await new Promise((resolve) => setTimeout(resolve, 20));
          }
        };
        const writers = Array.from({ length: 6 }, writer);
        const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
        await pause(500);
        await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
        await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
        await pause(100);
        const before = acknowledged.length;
        const degraded = await call(server.url, '/api/health');
        assert.deepEqual([degraded.status, degraded.body.status], [200, 'degraded']);
        assert.equal((await call(server.url, '/api/health/deep')).status, 500);
        await pause(800);
        assert.equal(acknowledged.length, before, 'nothing is acknowledged while it is closed');
        await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
        await until('a write after it is open again', 3000, async () => acknowledged.length > before + 10);
        running = false;
        await Promise.all(writers);
        assert.equal(server.child.exitCode, null, server.output());
        await server.stop();
        assert.deepEqual([...statuses.keys()].sort(), [201, 503]);
        assert.ok(slowest < 2500, `503 within 2.5 s, not ${Math.round(slowest)} ms`);
        await sequelize.close();
        sequelize = connect(s.config().target);
        const stored = new Set((await sequelize.query<{ r: string }>(
          "SELECT client_reference AS r FROM projects WHERE client_reference LIKE 'writer-%'", { type: QueryTypes.SELECT },
        )).map((row) => row.r));
        assert.deepEqual(acknowledged.filter((reference) => !stored.has(reference)), []);
      });

      test('PGOPTIONS reach the migrations: a lock_timeout ends a blocked down', async () => {
        const holder = await sequelize.transaction();
        await sequelize.query('LOCK TABLE projects', { transaction: holder });
        const blocked = await migrate(s, 'down', { PGOPTIONS: '-c lock_timeout=200' });
        await holder.rollback();
        assert.equal(blocked.code, 1);
        assert.match(blocked.stderr, /lock timeout/);
        assert.deepEqual((await state()).executed, migrationFiles());
      });
    } else {
      test('the file is locked, then replaced by another: no crash, and the new one is used', async () => {
        const file = (s.config().target as { storage: string }).storage;
        const server = await startServer(s.env);
        const post = (client_reference: string): ReturnType<typeof call> =>
          call(server.url, '/api/projects', { method: 'POST', body: { title: 'w', client_reference } });
        assert.equal((await post('file-1')).status, 201);
        const other = new DatabaseSync(file);
        other.exec('BEGIN EXCLUSIVE');
        const refused = await post('file-2');
        assert.equal(refused.status, 503);
        assert.ok(refused.ms < 2500);
        assert.equal((await call(server.url, '/api/health')).body.status, 'degraded');
        other.exec('ROLLBACK');
        other.close();
        assert.equal((await post('file-3')).status, 201);

        copyFileSync(file, `${file}.copy`);
        renameSync(file, `${file}.old`);
        assert.equal((await post('file-4')).status, 503, 'a missing file is not made anew');
        renameSync(`${file}.copy`, file);
        assert.equal((await post('file-5')).status, 201);
        const look = new DatabaseSync(file, { readOnly: true });
        const rows = look.prepare("SELECT client_reference AS r FROM projects WHERE client_reference LIKE 'file-%' ORDER BY 1").all();
        look.close();
        assert.deepEqual(rows.map((row) => row.r), ['file-1', 'file-3', 'file-5']);
        assert.equal(server.child.exitCode, null);
        await server.stop();
      });
    }
  });
}

describe('commands', () => {
  test('without their variables every one of them ends with 2 and one line', async () => {
    for (const [file, ...args] of [
      ['src/server.ts'], ['src/cli/migrate.ts', 'up'], ['src/cli/migrate.ts', 'down'], ['src/cli/migrate.ts', 'status'],
      ['src/cli/seed.ts'], ['src/cli/token.ts', 'a@b.test'],
    ] as [string, ...string[]][]) {
      const ended = await script(file, args, { NODE_ENV: 'production', DATABASE_URL: 'sqlite:./nowhere.sqlite' });
      assert.equal(ended.code, 2, file);
      assert.equal(ended.stderr, 'error: configuration: JWT_SECRET is missing\n');
    }
  });

  test('an SQLite file that is not there is made by "migrate" only', async () => {
    const env = { JWT_SECRET: 's', NODE_ENV: 'test', DATABASE_URL: 'sqlite:./no-such-file.sqlite' };
    for (const command of ['status', 'down']) {
      const ended = await script('src/cli/migrate.ts', [command], env, root);
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, /does not exist/);
    }
  });
});
