import { DataTypes } from 'sequelize';
import type { MigrationParams } from '../src/migrator.ts';

export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.addColumn('projects', 'priority', { type: DataTypes.INTEGER, allowNull: false, defaultValue: 3 });
  await queryInterface.sequelize.query(
    'UPDATE projects SET priority = CASE WHEN budget >= 100000 THEN 1 WHEN budget >= 20000 THEN 2 ELSE 4 END WHERE budget IS NOT NULL',
  );
}

export async function down({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.sequelize.query('ALTER TABLE projects DROP COLUMN priority');
}
