import { DataTypes, literal } from 'sequelize';
import type { MigrationParams } from '../src/migrator.ts';

// A baseline: it makes the tables only where they are missing. Its down() drops them all the same,
// also those that it never made.
export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
  const sqlite = queryInterface.sequelize.getDialect() === 'sqlite';
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  const createdAt = { type: DataTypes.DATE, allowNull: false, defaultValue: literal('CURRENT_TIMESTAMP') };
  if (!(await queryInterface.tableExists('users'))) {
    await queryInterface.createTable('users', {
      id,
      email: { type: DataTypes.STRING(255), allowNull: false, unique: true },
      name: { type: DataTypes.STRING(100), allowNull: true },
      contact: { type: DataTypes.STRING(200), allowNull: true },
      created_at: createdAt,
    });
  }
  if (!(await queryInterface.tableExists('projects'))) {
    await queryInterface.createTable('projects', {
      id,
      owner_id: { type: DataTypes.INTEGER, allowNull: false, references: { model: 'users', key: 'id' } },
      // SQLite does not look at the length of a varchar, so there it gets a check.
      title: { type: sqlite ? 'VARCHAR(50) CHECK (length(title) <= 50)' : DataTypes.STRING(50), allowNull: false },
      client_reference: { type: DataTypes.STRING(64), allowNull: true, unique: true },
      budget: { type: DataTypes.DECIMAL(12, 2), allowNull: true },
      created_at: createdAt,
    });
  }
}

export async function down({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.dropTable('projects');
  await queryInterface.dropTable('users');
}
