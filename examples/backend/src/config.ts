// What the process needs from its environment. Everything that is wrong is said in one line.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

export const version: string = (
  JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
).version;

export class ConfigError extends Error {}

export interface PostgresTarget {
  dialect: 'postgres';
  host: string;
  port: number;
  database: string;
  username: string | undefined;
  password: string | undefined;
  ssl: false | { rejectUnauthorized: boolean; ca?: string };
  applicationName: string;
}

export interface SqliteTarget {
  dialect: 'sqlite';
  storage: string;
}

export type Target = PostgresTarget | SqliteTarget;

export interface Config {
  nodeEnv: string;
  jwtSecret: string;
  target: Target;
  host: string;
  port: number;
  maintenanceMode: boolean;
  maintenanceFile: string | undefined;
  ignoreMaintenance: boolean;
  migrateOnStart: boolean;
  outboundDisabled: boolean;
  webhookUrl: string | undefined;
}

type Env = Record<string, string | undefined>;

const environments = ['development', 'staging', 'production', 'test'];

function decode(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : decodeURIComponent(value);
}

/** libpq's meaning of sslmode, but "allow" and "prefer" do not try TLS. */
function sslFor(mode: string | null, rootCert: string | null): PostgresTarget['ssl'] {
  switch (mode) {
    case null:
    case 'disable':
    case 'allow':
    case 'prefer':
      return false;
    case 'require':
      return { rejectUnauthorized: false };
    case 'verify-ca':
    case 'verify-full':
      return rootCert
        ? { rejectUnauthorized: true, ca: readFileSync(rootCert, 'utf8') }
        : { rejectUnauthorized: true };
    default:
      throw new ConfigError(`DATABASE_URL has an unknown sslmode "${mode}"`);
  }
}

export function parseDatabaseUrl(url: string): Target {
  const sqlite = /^sqlite:(?:\/\/(?=\/))?(.+)$/.exec(url)?.[1];
  if (sqlite) {
    return { dialect: 'sqlite', storage: sqlite === ':memory:' ? sqlite : path.resolve(root, sqlite) };
  }
  const m =
    /^postgres(?:ql)?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?(\[[^\]]+\]|[^/:?]*)(?::(\d+))?(?:\/([^?]*))?(?:\?(.*))?$/.exec(url);
  const query = new URLSearchParams(m?.[6] ?? '');
  const database = decode(m?.[5]) ?? query.get('dbname');
  if (!m || !database) {
    throw new ConfigError('DATABASE_URL must look like postgresql://user:password@host:5432/name or sqlite:./file.sqlite');
  }
  return {
    dialect: 'postgres',
    host: query.get('host') ?? decode(m[3]?.replace(/^\[|\]$/g, '')) ?? 'localhost',
    port: Number(m[4] ?? query.get('port') ?? 5432),
    database,
    username: decode(m[1]) ?? query.get('user') ?? undefined,
    password: decode(m[2]) ?? query.get('password') ?? undefined,
    ssl: sslFor(query.get('sslmode'), query.get('sslrootcert')),
    applicationName: query.get('application_name') ?? 'balcon-backend',
  };
}

export function readConfig(env: Env = process.env): Config {
  const wrong: string[] = [];
  if (!env.JWT_SECRET) wrong.push('JWT_SECRET is missing');
  if (!environments.includes(env.NODE_ENV ?? '')) {
    wrong.push(`NODE_ENV must be one of ${environments.join(', ')}`);
  }
  let target: Target | undefined;
  if (!env.DATABASE_URL) {
    wrong.push('DATABASE_URL is missing');
  } else {
    try {
      target = parseDatabaseUrl(env.DATABASE_URL);
    } catch (error) {
      // A malformed escape or an unreadable certificate must not print the URL, it may hold a password.
      wrong.push(error instanceof ConfigError ? error.message : 'DATABASE_URL cannot be read');
    }
  }
  const port = Number(env.PORT || 8082);
  if (!Number.isInteger(port) || port < 0 || port > 65535) wrong.push('PORT must be a port number');
  if (wrong.length > 0 || !target) throw new ConfigError(`configuration: ${wrong.join('; ')}`);
  return {
    nodeEnv: env.NODE_ENV as string,
    jwtSecret: env.JWT_SECRET as string,
    target,
    host: env.HOST || '127.0.0.1',
    port,
    maintenanceMode: env.MAINTENANCE_MODE === 'true',
    maintenanceFile: env.MAINTENANCE_FILE || undefined,
    ignoreMaintenance: env.IGNORE_MAINTENANCE === 'true',
    migrateOnStart: env.MIGRATE_ON_START === 'true',
    outboundDisabled: env.OUTBOUND_DISABLED === 'true',
    webhookUrl: env.WEBHOOK_URL || undefined,
  };
}

/** Reads the configuration, or says in one line what is missing and ends with exit code 2. */
export function configOrExit(): Config {
  try {
    return readConfig();
  } catch (error) {
    console.error(`error: ${(error as Error).message}`);
    process.exit(2);
  }
}
