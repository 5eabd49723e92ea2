import { BaseError, Sequelize } from 'sequelize';
import type { Target } from './config.ts';
import * as sqliteDriver from './sqlite-driver.ts';

export interface ConnectOptions {
  /** May an SQLite file that is not there be created? Only "migrate" may. */
  create?: boolean;
  /** Limit for one statement in ms (PostgreSQL); migrations have none. */
  statementTimeout?: number;
}

export function connect(target: Target, options: ConnectOptions = {}): Sequelize {
  if (target.dialect === 'sqlite') {
    const create = options.create === true || target.storage === ':memory:';
    return new Sequelize({
      dialect: 'sqlite',
      dialectModule: sqliteDriver,
      storage: target.storage,
      logging: false,
      retry: { max: 1 },
      dialectOptions: { mode: sqliteDriver.OPEN_READWRITE | (create ? sqliteDriver.OPEN_CREATE : 0) },
    });
  }
  return new Sequelize({
    dialect: 'postgres',
    host: target.host,
    port: target.port,
    database: target.database,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    logging: false,
    retry: { max: 1 },
    pool: { max: 8, min: 0, acquire: 2000, idle: 10000, evict: 1000 },
    dialectOptions: {
      ssl: target.ssl,
      application_name: target.applicationName,
      connectionTimeoutMillis: 1500,
      keepAlive: true,
      ...(options.statementTimeout ? { statement_timeout: options.statementTimeout } : {}),
    },
  });
}

/** Only the parts of an error that hold neither data nor credentials. */
export function describeError(error: unknown): string {
  const parent = (error as { parent?: { code?: string } }).parent;
  const name = error instanceof Error ? error.name : 'Error';
  return parent?.code ? `${name} (${parent.code})` : name;
}

const unavailableCodes = new Set([
  '57P01', '57P02', '57P03', '57P04', '57014', // terminated, crashed, starting up, database dropped, cancelled
  '25006', '55000', '55P03', '3D000', '53300', '53400', // read only, closed, locked, renamed, too many sessions
  'ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT', 'ENOENT',
  'SQLITE_BUSY', 'SQLITE_8', 'SQLITE_10', 'SQLITE_14', 'SQLITE_26',
]);

/** True when the database cannot be used just now, which is not the request's fault. */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof BaseError)) return false;
  if (/^Sequelize(Connection|Host|AccessDenied|InvalidConnection|Timeout)/.test(error.name)) return true;
  const parent = (error as { parent?: { code?: string; message?: string } }).parent;
  if (!parent) return false;
  if (parent.code !== undefined && unavailableCodes.has(parent.code)) return true;
  return /connection terminated|connection ended|not queryable|query read timeout/i.test(parent.message ?? '');
}
