import { configOrExit } from '../config.ts';
import { connect } from '../database.ts';
import { log } from '../log.ts';
import { Migrator } from '../migrator.ts';
import { release } from '../release.ts';

const command = process.argv[2];
const config = configOrExit();
const sequelize = connect(config.target, { create: command === 'up' });
const migrator = new Migrator(sequelize, (line) => log('info', line));

log('info', `release ${release.version}, ${config.target.dialect}, state table migrations_meta`);
try {
  if (command === 'up') await migrator.up();
  else if (command === 'down') await migrator.down();
  else if (command === 'status') console.log(await migrator.status());
  else throw new Error('usage: migrate up|down|status');
  log('info', 'done');
} catch (error) {
  const parent = (error as { parent?: Error & { code?: string } }).parent;
  log('error', `${command} failed: ${(parent ?? (error as Error)).message}${parent?.code ? ` (${parent.code})` : ''}`);
  process.exitCode = 1;
} finally {
  // An idle pool would keep the process for ten seconds more.
  await sequelize.close().catch(() => undefined);
}
