import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createApp } from './app.ts';
import { configOrExit } from './config.ts';
import { connect } from './database.ts';
import { log } from './log.ts';
import { Migrator } from './migrator.ts';
import { release } from './release.ts';

const config = configOrExit();

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));

if (config.migrateOnStart) {
  const sequelize = connect(config.target, { create: true });
  try {
    await new Migrator(sequelize, (line) => log('info', line)).up();
  } catch (error) {
    log('error', `migration at start failed: ${(error as Error).message}`);
    process.exit(1);
  } finally {
    await sequelize.close();
  }
}

const server = createServer(createApp(config, connect(config.target, { statementTimeout: 5000 })));
server.on('error', (error) => {
  log('error', `cannot listen: ${error.message}`);
  process.exit(1);
});
server.listen(config.port, config.host, () => {
  const { address, port } = server.address() as AddressInfo;
  log('info', `release ${release.version} (${config.nodeEnv}) listens on http://${address}:${port}`);
});
