// The part of the npm package "sqlite3" that Sequelize uses, on top of Node's own node:sqlite.
// The package itself fetches a binary when it is installed; this needs nothing.
import { existsSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

type Callback = (this: Statement, error: Error | null, rows?: unknown[]) => void;
type Parameters = unknown[] | Record<string, unknown>;
type Bindable = null | number | bigint | string | Uint8Array;

export const OPEN_READONLY = 1;
export const OPEN_READWRITE = 2;
export const OPEN_CREATE = 4;

// Sequelize looks at this class's name.
class Statement {
  lastID = 0;
  changes = 0;
}

function bindable(value: unknown): Bindable {
  if (value === undefined || value === null) return null;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value instanceof Date) return value.toISOString();
  return value as Bindable;
}

const codes: Record<number, string> = { 5: 'SQLITE_BUSY', 6: 'SQLITE_BUSY', 19: 'SQLITE_CONSTRAINT' };

function translated(cause: unknown): Error {
  const error = cause as Error & { code?: string; errcode?: number };
  if (error.errcode !== undefined) {
    const primary = error.errcode & 0xff;
    error.code = codes[primary] ?? `SQLITE_${primary}`;
    error.message = `${error.code}: ${error.message}`;
  }
  return error;
}

export class Database {
  readonly filename: string;
  uuid: string | undefined;
  readonly #mode: number;
  #db: DatabaseSync | undefined;
  #inode = 0;

  constructor(filename: string, mode: number, callback: (error: Error | null) => void) {
    this.filename = filename;
    this.#mode = mode;
    let failure: Error | null = null;
    try {
      this.#open();
    } catch (error) {
      failure = translated(error);
    }
    // Sequelize reads the variable that it assigns this object to, so not before the constructor is over.
    queueMicrotask(() => callback(failure));
  }

  #open(): DatabaseSync {
    const file = this.filename !== ':memory:';
    if (file && !(this.#mode & OPEN_CREATE) && !existsSync(this.filename)) {
      throw Object.assign(new Error('unable to open database file: it does not exist'), { errcode: 14 });
    }
    const db = new DatabaseSync(this.filename, {
      timeout: this.#mode & OPEN_CREATE ? 5000 : 500,
      readOnly: (this.#mode & OPEN_READONLY) !== 0,
    });
    db.exec('PRAGMA foreign_keys = ON');
    this.#db = db;
    if (file) this.#inode = statSync(this.filename).ino;
    return db;
  }

  /** The open database; opened anew when another file has taken the place of the one that was opened. */
  #current(): DatabaseSync {
    const db = this.#db;
    if (!db) return this.#open();
    if (this.filename === ':memory:' || db.isTransaction) return db;
    if (statSync(this.filename, { throwIfNoEntry: false })?.ino === this.#inode) return db;
    this.#db = undefined;
    db.close();
    return this.#open();
  }

  #execute(sql: string, parameters: Parameters, wantRows: boolean, callback: Callback | undefined): void {
    const result = new Statement();
    let failure: Error | null = null;
    let rows: unknown[] = [];
    try {
      const statement = this.#current().prepare(sql);
      statement.setAllowUnknownNamedParameters(true);
      const named = Array.isArray(parameters) ? undefined : parameters;
      const args: [] | [Record<string, Bindable>] = named
        ? [Object.fromEntries(Object.entries(named).map(([key, value]) => [key, bindable(value)]))]
        : [];
      const positional = Array.isArray(parameters) ? parameters.map(bindable) : [];
      if (wantRows) {
        rows = (args[0] ? statement.all(args[0], ...positional) : statement.all(...positional)).map((row) => ({ ...row }));
      } else {
        const done = args[0] ? statement.run(args[0], ...positional) : statement.run(...positional);
        result.lastID = Number(done.lastInsertRowid);
        result.changes = Number(done.changes);
      }
    } catch (error) {
      failure = translated(error);
    }
    if (callback) queueMicrotask(() => callback.call(result, failure, rows));
    else if (failure) throw failure;
  }

  run(sql: string, parameters: Parameters | Callback = [], callback?: Callback): this {
    if (typeof parameters === 'function') this.#execute(sql, [], false, parameters);
    else this.#execute(sql, parameters, false, callback);
    return this;
  }

  all(sql: string, parameters: Parameters | Callback = [], callback?: Callback): this {
    if (typeof parameters === 'function') this.#execute(sql, [], true, parameters);
    else this.#execute(sql, parameters, true, callback);
    return this;
  }

  serialize(work: () => void): void {
    work();
  }

  close(callback?: (error: Error | null) => void): void {
    this.#db?.close();
    this.#db = undefined;
    callback?.(null);
  }
}
