// Rows to try things on: made by the database itself, the same ones each time, for whichever schema is there.
import { parseArgs } from 'node:util';
import { QueryTypes } from 'sequelize';
import { configOrExit } from '../config.ts';
import { connect } from '../database.ts';
import { log } from '../log.ts';

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '500' },
    projects: { type: 'string', default: '2000' },
    'long-titles': { type: 'string', default: '0' },
  },
});
const wanted = {
  users: Number(values.users),
  projects: Number(values.projects),
  longTitles: Number(values['long-titles']),
};
for (const number of Object.values(wanted)) {
  if (!Number.isInteger(number) || number < 0 || number > 10_000_000) {
    console.error('usage: npm run seed -- [--users N] [--projects N] [--long-titles N]');
    process.exit(2);
  }
}

const config = configOrExit();
const sequelize = connect(config.target);
const postgres = config.target.dialect === 'postgres';
const query = sequelize.getQueryInterface();

const series = (last: number): string =>
  postgres
    ? `(SELECT n FROM generate_series(1, ${last}) AS n) s`
    : `(WITH RECURSIVE c(n) AS (SELECT 1 WHERE ${last} > 0 UNION ALL SELECT n + 1 FROM c WHERE n < ${last}) SELECT n FROM c) s`;

async function insert(table: string, columns: Record<string, string>, from: string): Promise<void> {
  const started = performance.now();
  await sequelize.query(
    `INSERT INTO ${table} (${Object.keys(columns).join(', ')}) SELECT ${Object.values(columns).join(', ')} FROM ${from}`,
    { type: QueryTypes.RAW },
  );
  const [row] = await sequelize.query<{ count: number }>(`SELECT count(*) AS count FROM ${table}`, { type: QueryTypes.SELECT });
  log('info', `${table}: ${String(row?.count)} rows (${Math.round(performance.now() - started)} ms)`);
}

async function projects(prefix: string, title: string, count: number, present: string[]): Promise<void> {
  const optional: Record<string, string> = {
    subtitle: "'Seeded project ' || s.n",
    priority: '1 + s.n % 5',
  };
  const columns: Record<string, string> = {
    owner_id: 'o.id',
    title,
    client_reference: `'${prefix}' || s.n`,
    budget: '1000 + s.n % 200000',
    created_at: postgres ? "timestamptz '2024-01-01 00:00:00+00' + s.n * interval '1 minute'"
      : "strftime('%Y-%m-%d %H:%M:%S.000 +00:00', '2024-01-01', '+' || s.n || ' minutes')",
  };
  for (const [name, value] of Object.entries(optional)) if (present.includes(name)) columns[name] = value;
  // Owners are found by their place in the list of ids, which may have gaps.
  await insert('projects', columns,
    `${series(count)} JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS total FROM users) o
       ON o.place = s.n % o.total + 1
     WHERE NOT EXISTS (SELECT 1 FROM projects p WHERE p.client_reference = '${prefix}' || s.n)`);
}

try {
  const userColumns = Object.keys(await query.describeTable('users'));
  const projectColumns = Object.keys(await query.describeTable('projects'));
  const text = postgres ? 's.n::text' : 'CAST(s.n AS text)';
  const address = `'user' || ${text} || '@example.test'`;
  const contact: Record<string, string> = { phone: `'+49 30 ' || (1000000 + s.n)`, company: `'Builder ' || (s.n % 50)` };
  await insert('users', {
    // Before normalise-emails there are upper-case letters, after it there are none.
    email: userColumns.includes('phone') ? address : `'User' || ${text} || '@Example.test'`,
    name: `'User ' || ${text}`,
    contact: `'+49 30 ' || (1000000 + s.n) || ' / Builder ' || (s.n % 50)`,
    created_at: postgres ? "timestamptz '2024-01-01 00:00:00+00'" : "'2024-01-01 00:00:00.000 +00:00'",
    ...(userColumns.includes('phone') ? contact : {}),
  }, `${series(wanted.users)} WHERE NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.email) = ${address})`);

  await projects('seed-', `'Balcony ' || ${text}`, wanted.projects, projectColumns);
  if (wanted.longTitles > 0) {
    await projects('seed-long-', `'Balcony with a title that does not fit into fifty characters ' || ${text}`,
      wanted.longTitles, projectColumns);
  }
  if (await query.tableExists('project_files')) {
    await insert('project_files', {
      project_id: 'p.id',
      uploaded_by: 'p.owner_id',
      name: "'plan-' || p.id || '.pdf'",
      created_at: 'p.created_at',
    }, `projects p WHERE p.id % 20 = 0 AND p.client_reference LIKE 'seed-%'
        AND NOT EXISTS (SELECT 1 FROM project_files f WHERE f.project_id = p.id)`);
  }
  if (postgres) await sequelize.query('ANALYZE users, projects');
} catch (error) {
  log('error', `seed failed: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await sequelize.close().catch(() => undefined);
}
