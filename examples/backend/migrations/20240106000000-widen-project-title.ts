import { DataTypes } from 'sequelize';
import type { QueryInterface } from 'sequelize';
import type { MigrationParams } from '../src/migrator.ts';

async function setTitleLength(queryInterface: QueryInterface, length: number): Promise<void> {
  const { sequelize } = queryInterface;
  if (sequelize.getDialect() === 'postgres') {
    await sequelize.query(`ALTER TABLE projects ALTER COLUMN title TYPE varchar(${length})`);
    return;
  }
  // SQLite cannot change a column's type: the titles move through a new column.
  await sequelize.query(
    `ALTER TABLE projects ADD COLUMN title_new VARCHAR(${length}) NOT NULL DEFAULT '' CHECK (length(title_new) <= ${length})`,
  );
  await sequelize.query('UPDATE projects SET title_new = title');
  await sequelize.query('ALTER TABLE projects DROP COLUMN title');
  await sequelize.query('ALTER TABLE projects RENAME COLUMN title_new TO title');
}

export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
  await setTitleLength(queryInterface, 200);
  await queryInterface.addColumn('projects', 'subtitle', { type: DataTypes.STRING(80), allowNull: true });
  await queryInterface.sequelize.query('UPDATE projects SET subtitle = substr(title, 1, 80)');
}

// Two steps and no transaction: when a title is too long for the second, the first has already dropped its column.
export async function down({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.sequelize.query('ALTER TABLE projects DROP COLUMN subtitle');
  await setTitleLength(queryInterface, 50);
}
