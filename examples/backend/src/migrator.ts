// The application's own migration runner. As in the application that it is modelled on, an up() or
// down() runs without a transaction and its state row is written or deleted in a separate statement.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { DataTypes, QueryTypes } from 'sequelize';
import type { QueryInterface, Sequelize } from 'sequelize';
import { migrationFiles, migrationsFolder } from './release.ts';

export interface MigrationParams {
  context: QueryInterface;
}

interface Migration {
  up?: (params: MigrationParams) => Promise<void>;
  down?: (params: MigrationParams) => Promise<void>;
}

export interface MigrationState {
  executed: string[];
  pending: string[];
}

type Log = (line: string) => void;

const table = 'migrations_meta';

export class Migrator {
  readonly #sequelize: Sequelize;
  readonly #log: Log;

  constructor(sequelize: Sequelize, log: Log) {
    this.#sequelize = sequelize;
    this.#log = log;
  }

  async #executed(): Promise<string[]> {
    const query = this.#sequelize.getQueryInterface();
    if (!(await query.tableExists(table))) return [];
    const rows = await this.#sequelize.query<{ name: string }>(`SELECT name FROM ${table}`, { type: QueryTypes.SELECT });
    return rows.map((row) => row.name).sort();
  }

  /** Reads only: it does not create the state table. */
  async status(): Promise<MigrationState> {
    const executed = await this.#executed();
    return { executed, pending: migrationFiles().filter((name) => !executed.includes(name)) };
  }

  async #load(name: string): Promise<Migration> {
    if (!migrationFiles().includes(name)) throw new Error(`the file of migration ${name} is not in this release`);
    return (await import(pathToFileURL(path.join(migrationsFolder, name)).href)) as Migration;
  }

  async up(): Promise<string[]> {
    const query = this.#sequelize.getQueryInterface();
    if (!(await query.tableExists(table))) {
      await query.createTable(table, {
        name: { type: DataTypes.STRING(255), primaryKey: true, allowNull: false },
        executed_at: { type: DataTypes.DATE, allowNull: false },
      });
    }
    const { pending } = await this.status();
    for (const name of pending) {
      const migration = await this.#load(name);
      if (!migration.up) throw new Error(`${name} has no up()`);
      this.#log(`migrating ${name}`);
      await migration.up({ context: query });
      await query.bulkInsert(table, [{ name, executed_at: new Date() }]);
      this.#log(`migrated ${name}`);
    }
    if (pending.length === 0) this.#log('nothing to migrate');
    return pending;
  }

  /** Reverts the executed migration with the greatest name. */
  async down(): Promise<string | undefined> {
    const name = (await this.#executed()).at(-1);
    if (name === undefined) {
      this.#log('nothing to revert');
      return undefined;
    }
    const migration = await this.#load(name);
    if (!migration.down) throw new Error(`${name} has no down()`);
    const query = this.#sequelize.getQueryInterface();
    this.#log(`reverting ${name}`);
    await migration.down({ context: query });
    await query.bulkDelete(table, { name });
    this.#log(`reverted ${name}`);
    return name;
  }
}
