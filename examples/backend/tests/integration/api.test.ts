// Run against the database in DATABASE_URL, which may be a copy of production or, with the "health"
// tests alone, which only read, production itself. What the others write they delete again.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { configOrExit } from '../../src/config.ts';
import { connect } from '../../src/database.ts';
import { Migrator } from '../../src/migrator.ts';
import { defineModels } from '../../src/models.ts';
import { release } from '../../src/release.ts';
import { mintToken } from '../../src/token.ts';
import { call, serve } from '../helpers.ts';

// The application under test answers also while production is under maintenance, and sends nothing outside.
const config = { ...configOrExit(), ignoreMaintenance: true, outboundDisabled: true };
const sequelize = connect(config.target);
const { users, projects } = defineModels(sequelize);
const mark = `itest-${randomUUID()}`;
let server: Awaited<ReturnType<typeof serve>>;

before(async () => {
  server = await serve(config, sequelize);
});

after(async () => {
  // When a pattern matches nothing, before() has not run.
  await (server as typeof server | undefined)?.close();
  await sequelize.close();
});

describe('health', () => {
  test('/api/health is ok', async () => {
    const { status, body } = await call(server.url, '/api/health');
    assert.equal(status, 200);
    assert.equal(body.status, 'ok');
    assert.equal(body.release, release.version);
  });

  test('/api/health/deep finds the schema of this release', async () => {
    const { status, body } = await call(server.url, '/api/health/deep');
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.ok, true);
    assert.equal(body.database.reachable, true);
  });

  test('/api/health/deep counts the migrations as the state table does', async () => {
    const state = await new Migrator(sequelize, () => undefined).status();
    const { body } = await call(server.url, '/api/health/deep');
    assert.deepEqual(body.migrations, { pending: state.pending.length, executed: state.executed.length });
  });
});

describe('users', () => {
  const email = `${mark}@example.invalid`;

  before(async () => {
    await users.create({ email, name: 'Integration test', created_at: new Date() });
  });
  after(async () => {
    await users.destroy({ where: { email } });
  });

  test('/api/auth/me knows the bearer of a token', async () => {
    const { status, body } = await call(server.url, '/api/auth/me', { token: mintToken(email, config.jwtSecret) });
    assert.equal(status, 200);
    assert.equal(body.email, email);
  });

  test('/api/auth/me refuses none, a forged one and an expired one', async () => {
    for (const token of ['', mintToken(email, 'other'), mintToken(email, config.jwtSecret, -1)]) {
      const { status } = await call(server.url, '/api/auth/me', token ? { token } : {});
      assert.equal(status, 401);
    }
  });
});

describe('projects', () => {
  const email = `${mark}-owner@example.invalid`;
  let owner = 0;

  before(async () => {
    const user = await users.create({ email, name: 'Integration test', created_at: new Date() });
    owner = user.get('id') as number;
  });
  after(async () => {
    await projects.destroy({ where: { owner_id: owner } });
    await users.destroy({ where: { email } });
  });

  test('a project that was acknowledged is there', async () => {
    const title = 'x'.repeat(release.longTitles ? 200 : 50);
    const fields = { title, owner_id: owner, client_reference: mark.slice(0, 64), budget: 12.5, priority: 1 };
    const created = await call(server.url, '/api/projects', { method: 'POST', body: fields });
    assert.equal(created.status, 201, JSON.stringify(created.body));
    assert.equal('priority' in created.body, release.priority);
    assert.equal('subtitle' in (await call(server.url, '/api/projects?limit=1')).body[0], release.longTitles);

    const found = await call(server.url, `/api/projects?id=${created.body.id}`);
    assert.equal(found.body.length, 1);
    assert.equal(found.body[0].title, title);
    assert.equal(found.body[0].budget, 12.5);
    if (release.priority) assert.equal(found.body[0].priority, 1);

    const again = await call(server.url, '/api/projects', { method: 'POST', body: fields });
    assert.equal(again.status, 409);

    const changed = await call(server.url, `/api/projects/${created.body.id}`, { method: 'PATCH', body: { title: 'changed' } });
    assert.equal(changed.status, 200);
    assert.equal((await call(server.url, `/api/projects?id=${created.body.id}`)).body[0].title, 'changed');
  });

  test('the latest come first, as many as asked for', async () => {
    const { status, body } = await call(server.url, '/api/projects?limit=3');
    assert.equal(status, 200);
    assert.ok(body.length <= 3);
    const ids = body.map((row: { id: number }) => row.id);
    assert.deepEqual(ids, [...ids].sort((a, b) => b - a));
  });

  test('what is wrong is refused', async () => {
    const tooLong = 'x'.repeat(release.longTitles ? 201 : 51);
    const post = async (body: unknown): Promise<number> => (await call(server.url, '/api/projects', { method: 'POST', body })).status;
    assert.equal(await post({ owner_id: owner }), 400);
    assert.equal(await post({ owner_id: owner, title: tooLong }), 400);
    assert.equal(await post({ owner_id: 2147483647, title: 'nobody owns this' }), 400);
    assert.equal((await call(server.url, '/api/projects?id=abc')).status, 400);
    assert.equal((await call(server.url, '/api/projects/2147483647', { method: 'PATCH', body: { title: 'x' } })).status, 404);
  });
});
