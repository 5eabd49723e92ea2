import { DataTypes } from 'sequelize';
import type { MigrationParams } from '../src/migrator.ts';

/** "+49 30 123 / Builder Ltd" becomes a phone number and a company. */
export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
  const { sequelize } = queryInterface;
  const count = async (): Promise<number> => {
    const [rows] = await sequelize.query('SELECT COUNT(*) AS count FROM users');
    return Number((rows as { count: string | number }[])[0]?.count);
  };
  const before = await count();
  console.log(`Pre-migration user count: ${before}`);

  await queryInterface.addColumn('users', 'phone', { type: DataTypes.STRING(50), allowNull: true });
  await queryInterface.addColumn('users', 'company', { type: DataTypes.STRING(100), allowNull: true });
  const place = sequelize.getDialect() === 'sqlite' ? "instr(contact, ' / ')" : "strpos(contact, ' / ')";
  await sequelize.query(
    `UPDATE users SET phone = substr(contact, 1, ${place} - 1), company = substr(contact, ${place} + 3) WHERE ${place} > 0`,
  );

  const after = await count();
  if (after !== before) throw new Error(`Row count changed! Before: ${before}, After: ${after}`);
}

// Plain SQL rather than removeColumn(): on SQLite that one rebuilds the table, and loses rows that refer to it.
export async function down({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.sequelize.query('ALTER TABLE users DROP COLUMN company');
  await queryInterface.sequelize.query('ALTER TABLE users DROP COLUMN phone');
}
