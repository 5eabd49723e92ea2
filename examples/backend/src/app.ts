import { existsSync } from 'node:fs';
import express from 'express';
import type { ErrorRequestHandler, Express, Request } from 'express';
import { col, fn, ForeignKeyConstraintError, Op, QueryTypes, UniqueConstraintError, where } from 'sequelize';
import type { Model, Sequelize } from 'sequelize';
import type { Config } from './config.ts';
import { describeError, isUnavailable } from './database.ts';
import { log } from './log.ts';
import { Migrator } from './migrator.ts';
import { defineModels, titleLength } from './models.ts';
import { release } from './release.ts';
import { readToken } from './token.ts';

class BadRequest extends Error {}

function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('time limit')), ms);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

function wholeNumber(value: unknown, name: string, least: number, most: number): number {
  const number = Number(value);
  if (value === '' || !Number.isInteger(number) || number < least || number > most) {
    throw new BadRequest(`${name} must be a whole number from ${least} to ${most}`);
  }
  return number;
}

function text(value: unknown, name: string, most: number): string {
  if (typeof value !== 'string' || value.trim() === '' || value.length > most) {
    throw new BadRequest(`${name} must be a text of 1 to ${most} characters`);
  }
  return value;
}

const maxId = 2 ** 31 - 1;

/** The columns in a request's body that this release knows; others are ignored. */
function projectFields(body: Record<string, unknown>): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  if (body.title !== undefined) fields.title = text(body.title, 'title', titleLength);
  if (body.budget !== undefined && body.budget !== null) {
    const budget = Number(body.budget);
    if (!Number.isFinite(budget) || Math.abs(budget) >= 1e10) throw new BadRequest('budget must be a number below 1e10');
    fields.budget = budget;
  }
  if (release.longTitles && body.subtitle !== undefined) fields.subtitle = text(body.subtitle, 'subtitle', 80);
  if (release.priority && body.priority !== undefined) fields.priority = wholeNumber(body.priority, 'priority', 1, 5);
  return fields;
}

function bodyOf(request: Request): Record<string, unknown> {
  const body: unknown = request.body;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new BadRequest('a JSON object is needed');
  return body as Record<string, unknown>;
}

function shown(project: Model): Record<string, unknown> {
  const row = project.get({ plain: true }) as Record<string, unknown>;
  return { ...row, budget: row.budget === null || row.budget === undefined ? null : Number(row.budget) };
}

export function createApp(config: Config, sequelize: Sequelize): Express {
  const app = express();
  const { users, projects } = defineModels(sequelize);
  const migrator = new Migrator(sequelize, () => undefined);

  const inMaintenance = (): boolean =>
    !config.ignoreMaintenance &&
    (config.maintenanceMode || (config.maintenanceFile !== undefined && existsSync(config.maintenanceFile)));

  async function notify(project: Record<string, unknown>): Promise<void> {
    if (!config.webhookUrl) return;
    if (config.outboundDisabled) {
      log('info', `outbound is disabled: no webhook for project ${String(project.id)}`);
      return;
    }
    try {
      await fetch(config.webhookUrl, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ event: 'project.created', id: project.id }),
        signal: AbortSignal.timeout(2000),
      });
    } catch (error) {
      log('warn', `webhook for project ${String(project.id)}: ${(error as Error).name}`);
    }
  }

  app.disable('x-powered-by');
  app.set('etag', false);

  // SQLite answers "SELECT 1" without a look at its file.
  const probe = sequelize.getDialect() === 'sqlite' ? 'SELECT count(*) FROM sqlite_master' : 'SELECT 1';

  // Like the real one it answers 200 even when the database cannot be reached: read the body.
  app.get('/api/health', async (_request, response) => {
    let status = 'ok';
    try {
      await within(sequelize.query(probe, { type: QueryTypes.SELECT }), 1500);
    } catch {
      status = 'degraded';
    }
    response.json({ status, release: release.version, maintenance: inMaintenance() });
  });

  app.use((_request, response, next) => {
    if (!inMaintenance()) {
      next();
      return;
    }
    response.status(503).set('Retry-After', '60').json({ maintenance: true, message: 'The service is under maintenance.' });
  });

  // ok: the database answers and has every column that this release reads. Pending migrations are
  // counted, but are no failure by themselves: a rolled back one is pending until the release changes.
  app.get('/api/health/deep', async (_request, response) => {
    const started = performance.now();
    const answer = {
      ok: false,
      release: release.version,
      migrations: { pending: 0, executed: 0 },
      database: { dialect: sequelize.getDialect(), reachable: false, latency_ms: 0, error: null as string | null },
    };
    try {
      await within((async () => {
        const state = await migrator.status();
        answer.database.reachable = true;
        answer.migrations = { pending: state.pending.length, executed: state.executed.length };
        await Promise.all([users.findAll({ limit: 1 }), projects.findAll({ limit: 1 })]);
      })(), 4000);
      answer.ok = true;
    } catch (error) {
      answer.database.error = describeError(error);
    }
    answer.database.latency_ms = Math.round(performance.now() - started);
    response.status(answer.ok ? 200 : 500).json(answer);
  });

  app.use(express.json({ limit: '64kb' }));

  app.get('/api/auth/me', async (request, response) => {
    const token = /^Bearer (\S+)$/.exec(request.get('authorization') ?? '')?.[1];
    const email = token === undefined ? undefined : readToken(token, config.jwtSecret);
    const user = email === undefined ? null : await users.findOne({ where: where(fn('lower', col('email')), email) });
    if (!user) {
      response.status(401).json({ error: 'a valid bearer token is needed' });
      return;
    }
    response.json(user);
  });

  app.get('/api/projects', async (request, response) => {
    const { id, client_reference: reference, limit } = request.query;
    const filter: Record<string, unknown> = {};
    if (id !== undefined) filter.id = wholeNumber(id, 'id', 1, maxId);
    if (reference !== undefined) filter.client_reference = text(reference, 'client_reference', 64);
    const rows = await projects.findAll({
      where: filter,
      order: [['id', 'DESC']],
      limit: limit === undefined ? 20 : wholeNumber(limit, 'limit', 1, 200),
    });
    response.json(rows.map(shown));
  });

  app.post('/api/projects', async (request, response) => {
    const body = bodyOf(request);
    text(body.title, 'title', titleLength);
    const fields = projectFields(body);
    if (body.client_reference !== undefined) fields.client_reference = text(body.client_reference, 'client_reference', 64);
    fields.owner_id = body.owner_id === undefined
      ? await users.min('id')
      : wholeNumber(body.owner_id, 'owner_id', 1, maxId);
    if (fields.owner_id === null) throw new BadRequest('there are no users to own a project');
    // One statement outside any transaction: when it returns, it is committed.
    const project = shown(await projects.create({ ...fields, created_at: new Date() }));
    response.status(201).json(project);
    void notify(project);
  });

  app.patch('/api/projects/:id', async (request, response) => {
    const id = wholeNumber(request.params.id, 'id', 1, maxId);
    const fields = projectFields(bodyOf(request));
    if (Object.keys(fields).length === 0) throw new BadRequest('nothing to change');
    await projects.update(fields, { where: { id: { [Op.eq]: id } } });
    const project = await projects.findByPk(id);
    if (project) response.json(shown(project));
    else response.status(404).json({ error: 'no such project' });
  });

  app.use((_request, response) => {
    response.status(404).json({ error: 'not found' });
  });

  let lastComplaint = 0;
  const onError: ErrorRequestHandler = (error: unknown, request, response, _next) => {
    const status = (error as { status?: number }).status;
    if (error instanceof BadRequest) {
      response.status(400).json({ error: error.message });
    } else if (error instanceof UniqueConstraintError) {
      response.status(409).json({ error: 'a project with this client_reference exists' });
    } else if (error instanceof ForeignKeyConstraintError) {
      response.status(400).json({ error: 'owner_id is not a user' });
    } else if (isUnavailable(error)) {
      // Whether a write that ends here was committed is not known; only 201 is a promise.
      if (Date.now() - lastComplaint > 1000) {
        lastComplaint = Date.now();
        log('warn', `database unavailable: ${describeError(error)}`);
      }
      response.status(503).set('Retry-After', '1').json({ error: 'the database is not available' });
    } else if (status !== undefined && status >= 400 && status < 500) {
      response.status(status).json({ error: 'the request cannot be read' });
    } else {
      log('error', `${request.method} ${request.path}: ${describeError(error)}`);
      response.status(500).json({ error: 'internal error' });
    }
  };
  app.use(onError);
  return app;
}
