import type { MigrationParams } from '../src/migrator.ts';

export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.sequelize.query('UPDATE users SET email = lower(email) WHERE email <> lower(email)');
}

export async function down(): Promise<void> {
  // The spelling that was there before is gone.
}
