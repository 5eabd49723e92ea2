import type { MigrationParams } from '../src/migrator.ts';

export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.addIndex('projects', ['owner_id'], { name: 'projects_owner_id_idx' });
}

export async function down({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.removeIndex('projects', 'projects_owner_id_idx');
}
